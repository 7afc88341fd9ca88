"""Multipart forms, read piece by piece; what becomes of their parts is the receiver's business."""

from __future__ import annotations

from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from lanhaven.dialects.base import Headers
from lanhaven.errors import InvalidRequest, UnsupportedMediaType

MOST_PARTS = 128
LONGEST_BOUNDARY = 70  # RFC 2046, 5.1.1
LONGEST_HEADER = 4 << 10  # bytes of a part's header


class Receiver(Protocol):
    """What takes a form's parts, one after the other. Whatever it raises ends the reading."""

    def begin_part(self, name: str, filename: str | None) -> None:
        """A part begins; `filename` is None where the form names no file."""
        ...

    def part_data(self, data: bytes, start: int, end: int) -> None:
        """More of the part: what stands in `data` between `start` and `end`."""
        ...

    def end_part(self) -> None:
        """The part is whole."""
        ...


class FormReader:
    """Reads one form. Its length is bounded by whoever gives the pieces."""

    def __init__(self, boundary: bytes, receiver: Receiver, *, most_parts: int = MOST_PARTS) -> None:
        self._receiver = receiver
        self._most_parts = most_parts
        self._parts = 0
        self._header = (bytearray(), bytearray())
        self._disposition = b""
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._more(0, data[start:end]),
                "on_header_value": lambda data, start, end: self._more(1, data[start:end]),
                "on_header_end": self._header_end,
                "on_headers_finished": self._named,
                "on_part_data": receiver.part_data,
                "on_part_end": receiver.end_part,
                "on_end": self._end,
            },
        )

    def feed(self, piece: bytes) -> None:
        """The next piece. InvalidRequest: the form is broken."""
        try:
            self._parser.write(piece)
        except FormParserError:
            raise malformed("it is broken") from None

    def close(self) -> None:
        """There are no more pieces. InvalidRequest: the form is cut short."""
        if not self._ended:
            raise malformed("it ends too early")

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > self._most_parts:
            raise malformed(f"it has more than {self._most_parts} parts")
        self._disposition = b""

    def _more(self, which: int, data: bytes) -> None:
        self._header[which].extend(data)
        if len(self._header[which]) > LONGEST_HEADER:
            raise malformed("a header is too long")

    def _header_end(self) -> None:
        name, value = (bytes(each) for each in self._header)
        self._header = (bytearray(), bytearray())
        if name.lower() == b"content-disposition":
            self._disposition = value

    def _named(self) -> None:
        _, options = parse_options_header(self._disposition)
        name, filename = options.get(b"name", b""), options.get(b"filename")
        if not name:
            raise malformed("a part has no name")
        self._receiver.begin_part(
            name.decode("utf-8", "replace"), None if filename is None else filename.decode("utf-8", "replace")
        )

    def _end(self) -> None:
        self._ended = True


def boundary_of(headers: Headers) -> bytes:
    """What parts the form, as its Content-Type says. UnsupportedMediaType: it is none."""
    value = next((value for name, value in headers if name == b"content-type"), b"")
    kind, options = parse_options_header(value)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= LONGEST_BOUNDARY:
        raise UnsupportedMediaType("Content-Type must be multipart/form-data, with a boundary of at most 70 letters.")
    return boundary


def malformed(why: str) -> InvalidRequest:
    """A form that is not well made."""
    return InvalidRequest(f"The form cannot be read: {why}.", retry=False)
