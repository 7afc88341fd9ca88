"""The way that a request came: read from its headers, told to the next server, refused in a circle."""

from __future__ import annotations

import pytest

from lanhaven.errors import RequestLoop
from lanhaven.types.models import Upstream
from lanhaven.upstream.foreign import from_reply
from lanhaven.upstream.via import MOST_HOPS, hops, onward

A, B, C = (f"lanhaven-{letter * 12}" for letter in "abc")


def via(*values: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), *((b"via", each.encode("latin-1")) for each in values)]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ((), ()),
        ((f"1.1 {A}",), (A,)),
        ((f"1.1 {A}, 1.1 nginx, 1.1 {B}",), (A, B)),
        ((f"1.1 {A}", f"1.1 {B}"), (A, B)),
        ((f"1.1 {A}x", f"1.0 {B}", "lanhaven-" + "a" * 12, "\xff\x00", ""), ()),
        ((", ".join([f"1.1 {A}"] * 500),), (A,) * MOST_HOPS),
    ],
)
def test_what_headers_name(values: tuple[str, ...], found: tuple[str, ...]) -> None:
    assert hops(via(*values)) == found


def test_the_next_server_hears_of_all() -> None:
    upstream = Upstream(model="m", base_url="http://h", headers=(("authorization", "k"), ("via", f"1.1 {C}")))
    told = onward(upstream, via(f"1.1 {A}, 1.1 {B}"), "m")
    assert told.headers == (("authorization", "k"), ("via", f"1.1 {A}, 1.1 {B}, 1.1 {C}"))
    assert onward(upstream, via(), "m") is upstream
    with pytest.raises(RequestLoop, match="in a circle"):
        onward(upstream, via(f"1.1 {A}, 1.1 {C}"), "m")


def test_an_engine_of_ours_hears_nothing() -> None:
    engine = Upstream(model="m", socket="/s", headers=(("authorization", "k"),))
    assert onward(engine, via(f"1.1 {A}"), "m") is engine


def test_a_circle_further_on_is_told_as_one() -> None:
    error = from_reply(508, {}, b'{"error": {"message": "In a circle. Try: mend it"}}', "m")
    assert (type(error), error.message, error.retry) == (RequestLoop, "In a circle. Try: mend it", False)
