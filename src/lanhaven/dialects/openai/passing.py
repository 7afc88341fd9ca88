"""Images and audio: passed on as they are to a program or server that says it can, the model's name apart (S1-06, C9).

The answer may be anything (a picture in JSON, sound, subtitles) and comes whole, whatever the request says of streams.
"""

from __future__ import annotations

import re
from typing import Any

from lanhaven.dialects.base import Call, Headers
from lanhaven.dialects.forms import FormReader, boundary_of, malformed
from lanhaven.dialects.openai.fields import FORBIDDEN
from lanhaven.errors import InvalidRequest, UpstreamError
from lanhaven.inference import Inference
from lanhaven.types.chat import PASSED, RawForm, Route
from lanhaven.upstream.exchange import Exchange
from lanhaven.wire import read_strict

LONGEST_MODEL = 512
PATHS = {route.removeprefix("/v1"): route for route in sorted(PASSED)}
JSON_ROUTES = frozenset({Route.IMAGE, Route.SPEECH})
_KIND = re.compile(rb"[\x20-\x7e]{1,200}")
_UNKNOWN = b"application/octet-stream"


def read_passed(route: Route, call: Call) -> tuple[dict[str, Any], RawForm | None]:
    """The fields that are looked at, and the form, where the body is one. InvalidRequest, UnsupportedMediaType."""
    if route in JSON_ROUTES:
        body = read_strict(call.body)
        for name in FORBIDDEN.intersection(body):
            del body[name]
        if not isinstance(body.get("model"), str | None):
            raise InvalidRequest("model must be a string.", param="model", retry=False)
        return body, None
    return _ModelField(boundary_of(call.headers), call.body).cut(_content_type(call.headers))


class _ModelField:
    """Where in a form the model's name stands; the form must be whole."""

    def __init__(self, boundary: bytes, body: bytes) -> None:
        self._boundary, self._body = boundary, body
        self._is_model = False
        self._at: tuple[int, int] | None = None
        self._split = False  # the name does not stand in one piece
        reader = FormReader(boundary, self)
        reader.feed(body)
        reader.close()

    def cut(self, content_type: str) -> tuple[dict[str, Any], RawForm]:
        """The body in two, around the model's name; a form without one gets the field as its first."""
        body = self._body
        if self._at is None:
            if not body.startswith(b"--" + self._boundary):
                raise malformed("it does not begin with its boundary")
            head = b'--%b\r\nContent-Disposition: form-data; name="model"\r\n\r\n' % self._boundary
            return {}, RawForm(content_type, head, b"\r\n" + body)
        start, end = self._at
        if self._split or end - start > LONGEST_MODEL:
            raise InvalidRequest("model is no name of a model.", param="model", retry=False)
        try:
            model = body[start:end].decode()
        except UnicodeDecodeError:
            raise InvalidRequest("model is not UTF-8.", param="model", retry=False) from None
        return {"model": model}, RawForm(content_type, body[:start], body[end:])

    def begin_part(self, name: str, filename: str | None) -> None:
        """See `Receiver`."""
        _check_name(name)
        self._is_model = name == "model"
        if self._is_model and self._at is not None:
            raise InvalidRequest("model stands twice in the form.", param="model", retry=False)

    def part_data(self, data: bytes, start: int, end: int) -> None:
        if not self._is_model:
            return
        self._split = self._split or self._at is not None or data is not self._body
        self._at = (start, end)

    def end_part(self) -> None:
        if self._is_model and self._at is None:
            raise InvalidRequest("model is empty.", param="model", retry=False)


def _check_name(name: str) -> None:
    if name in FORBIDDEN:
        raise InvalidRequest(f"{name} is not a client's to set.", param=name, retry=False)


def _content_type(headers: Headers) -> str:
    value = next((value for name, value in headers if name == b"content-type"), b"")
    if not _KIND.fullmatch(value):
        raise InvalidRequest("The Content-Type header holds what no header may.", retry=False)
    return value.decode()


async def relay_whole(call: Call, inference: Inference, exchange: Exchange) -> None:
    """Bytes, with the kind that the upstream says they are of."""
    data = await exchange.raw()
    kind = exchange.headers.get(b"content-type", _UNKNOWN)
    if kind.lower().startswith(b"text/html"):
        raise UpstreamError("The model's server answered with a web page.")
    await call.reply(200, data, [(b"content-type", kind if _KIND.fullmatch(kind) else _UNKNOWN)])
