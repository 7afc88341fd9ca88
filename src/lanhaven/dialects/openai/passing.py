"""Images and audio: passed on as they are to a program or server that says it can, the model's name apart (S1-06, C9).

The answer may be anything (a picture in JSON, sound, subtitles) and comes whole, whatever the request says of streams.
"""

from __future__ import annotations

import re
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from lanhaven.dialects.base import Call, Headers
from lanhaven.dialects.openai.fields import FORBIDDEN
from lanhaven.dialects.openai.multipart import boundary_of, malformed
from lanhaven.errors import InvalidRequest, UpstreamError
from lanhaven.inference import Inference
from lanhaven.types.chat import PASSED, RawForm, Route
from lanhaven.upstream.exchange import Exchange
from lanhaven.wire import read_strict

MOST_PARTS = 128
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
        self._header = (bytearray(), bytearray())
        self._name = b""
        self._parts = 0
        self._ended = False
        self._at: tuple[int, int] | None = None
        self._split = False  # the name does not stand in one piece
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
                "on_header_end": self._header_end,
                "on_headers_finished": self._named,
                "on_part_data": self._more,
                "on_part_end": self._close,
                "on_end": self._end,
            },
        )
        try:
            parser.write(body)
        except FormParserError:
            raise malformed("it is broken") from None
        if not self._ended:
            raise malformed("it ends too early")

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

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise malformed(f"it has more than {MOST_PARTS} parts")
        self._name = b""

    def _header_end(self) -> None:
        if bytes(self._header[0]).lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._header[1]))
            self._name = options.get(b"name", b"")
        self._header = (bytearray(), bytearray())

    def _named(self) -> None:
        if not self._name:
            raise malformed("a part has no name")
        _check_name(self._name.decode("utf-8", "replace"))
        if self._name == b"model" and self._at is not None:
            raise InvalidRequest("model stands twice in the form.", param="model", retry=False)

    def _more(self, data: bytes, start: int, end: int) -> None:
        if self._name != b"model":
            return
        self._split = self._split or self._at is not None or data is not self._body
        self._at = (start, end)

    def _close(self) -> None:
        if self._name == b"model" and self._at is None:
            raise InvalidRequest("model is empty.", param="model", retry=False)

    def _end(self) -> None:
        self._ended = True


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
