"""Forms that are passed on: everything stays as it is but the model's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lanhaven.dialects.base import Call
from lanhaven.dialects.openai.passing import PATHS, read_passed
from lanhaven.errors import GatewayError, InvalidRequest
from lanhaven.types.chat import InferenceRequest, Route
from lanhaven.types.models import Sampling, Upstream
from lanhaven.upstream.preparing import prepare

KIND = "multipart/form-data; boundary=limit"
THERE = Upstream("there", socket="/s")


async def _nowhere(message: Mapping[str, Any]) -> None:
    raise AssertionError("nothing is sent while a body is read")


def call(body: bytes, kind: str = KIND) -> Call:
    dialect: Any = None  # which is not asked
    return Call(
        _nowhere, "r", "/v1/audio/transcriptions", "POST", dialect, body, headers=[(b"content-type", kind.encode())]
    )


def form(*parts: tuple[str, bytes]) -> bytes:
    fields = (b'--limit\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (n.encode(), v) for n, v in parts)
    return b"".join((*fields, b"--limit--\r\n"))


def sent(body: bytes) -> bytes:
    read, raw = read_passed(Route.TRANSCRIPTION, call(body))
    assert raw is not None
    assert raw.content_type == KIND
    return prepare(InferenceRequest(Route.TRANSCRIPTION, read, "r", "/", form=raw), Sampling(temperature=1), THERE)


def test_six_routes() -> None:
    assert len(PATHS) == 6
    assert PATHS["/audio/speech"] is Route.SPEECH


def test_the_name_is_replaced_wherever_it_stands() -> None:
    before, after = ("file", bytes(range(256)) * 30 + b"\r\n--limi"), ("prompt", b"")
    for parts in (
        (("model", b"mine"), before, after),
        (before, ("model", b"mine"), after),
        (before, after, ("model", b"m")),
    ):
        assert sent(form(*parts)) == form(*((name, b"there" if name == "model" else data) for name, data in parts))


def test_a_form_without_a_name_gets_one() -> None:
    body = form(("file", b"x"))
    assert read_passed(Route.TRANSCRIPTION, call(body))[0] == {}
    assert sent(body) == form(("model", b"there"), ("file", b"x"))


@given(st.binary(max_size=300), st.sampled_from([b"m", b"", b"\xff", b"a/b:c", b" "]))
def test_a_form_is_kept_as_it_is(data: bytes, name: bytes) -> None:
    assume(b"--limit" not in data)
    body = form(("file", data), ("model", name), ("file", data))
    if name and name.isascii():
        assert sent(body) == form(("file", data), ("model", b"there"), ("file", data))
        return
    with pytest.raises(InvalidRequest, match=r"model is (?:empty|not UTF-8)"):
        sent(body)


@given(st.binary(max_size=200))
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(GatewayError):
        sent(body)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (form(("model", b"a"), ("model", b"b")), "twice"),
        (form(("model", b"x" * 600)), "no name of a model"),
        (form(("model", b"\xff")), "not UTF-8"),
        (form(("url", b"http://x"), ("model", b"a")), "not a client's to set"),
        (form(*[("a", b"")] * 200), "more than 128 parts"),
        (b"before\r\n" + form(("a", b"b")), "boundary|broken"),
        (form(("a", b"b"))[:-12], "too early"),
    ],
)
def test_what_is_wrong_is_named(body: bytes, named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        sent(body)


def test_json_is_looked_at_as_little() -> None:
    read, raw = read_passed(
        Route.SPEECH, call(b'{"model": "m", "response_format": "mp3", "ttl": "x", "url": "http://x"}')
    )
    assert (read, raw) == ({"model": "m", "response_format": "mp3", "ttl": "x"}, None)
    with pytest.raises(InvalidRequest, match="model must be a string"):
        read_passed(Route.IMAGE, call(b'{"model": 3}'))
