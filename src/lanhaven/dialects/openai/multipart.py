"""POST /v1/chat/completions/multipart: a chat whose images come as files of a form, without the third that Base64 adds.

`messages` is JSON in which an image part has the address `__RAW_IMAGE__`, once for each file in `images`, in their
order; without any, the files belong to the last message of the user. All other fields are those of a chat.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from lanhaven.dialects.base import Headers
from lanhaven.dialects.openai.fields import MAX_STRING
from lanhaven.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from lanhaven.wire import read_json

SLOT = "__RAW_IMAGE__"
IMAGES = frozenset({"images", "images[]"})
TEXTS = frozenset({"model", "user"})  # never read as JSON: a model may be called 7
MOST_PARTS = 128
MOST_FIELD = 64 << 10  # bytes of a field other than messages
LONGEST_BOUNDARY = 70  # RFC 2046, 5.1.1


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a form; a file is one as well."""

    name: str
    data: bytes


class Form:
    """Reads a form piece by piece. Its length is bounded by whoever gives the pieces."""

    def __init__(self, headers: Headers) -> None:
        self.parts: list[Part] = []
        self._header = (bytearray(), bytearray())
        self._disposition = b""
        self._name = ""
        self._pieces: list[bytes] = []
        self._size = 0
        self._ended = False
        self._parser = MultipartParser(
            boundary_of(headers),
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

    async def read(self, pieces: AsyncIterator[bytes]) -> Sequence[Part]:
        """All parts. InvalidRequest for a form that is broken or cut short."""
        async for piece in pieces:
            try:
                self._parser.write(piece)
            except FormParserError:
                raise malformed("it is broken") from None
        if not self._ended:
            raise malformed("it ends too early")
        return self.parts

    def _begin(self) -> None:
        if len(self.parts) >= MOST_PARTS:
            raise malformed(f"it has more than {MOST_PARTS} parts")
        self._disposition, self._name, self._pieces, self._size = b"", "", [], 0

    def _header_end(self) -> None:
        if bytes(self._header[0]).lower() == b"content-disposition":
            self._disposition = bytes(self._header[1])
        self._header = (bytearray(), bytearray())

    def _named(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if not self._name:
            raise malformed("a part has no name")

    def _more(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._name not in IMAGES and self._size > (MAX_STRING if self._name == "messages" else MOST_FIELD):
            raise PayloadTooLarge(f"{self._name[:64]} is too long.", param=self._name[:64], retry=False)
        self._pieces.append(data[start:end])

    def _close(self) -> None:
        self.parts.append(Part(self._name, b"".join(self._pieces)))
        self._pieces = []

    def _end(self) -> None:
        self._ended = True


def body_of(parts: Sequence[Part]) -> dict[str, Any]:
    """The chat that a form holds; the address of each of its images is the file's bytes."""
    body: dict[str, Any] = {}
    images: list[bytes] = []
    for part in parts:
        if part.name in IMAGES:
            images.append(part.data)
        elif part.name in body:
            raise InvalidRequest(f"{part.name[:64]} stands twice in the form.", param=part.name[:64], retry=False)
        else:
            body[part.name] = _value(part)
    if not isinstance(body.get("messages"), list):
        raise InvalidRequest("messages must be a list of messages, as JSON.", param="messages", retry=False)
    _put(images, body["messages"])
    return body


def _value(part: Part) -> Any:
    """JSON where it is some, else text: `stop` may be END, 3 or ["a", "b"]."""
    try:
        text = part.data.decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"{part.name[:64]} is not UTF-8.", param=part.name[:64], retry=False) from None
    if part.name in TEXTS:
        return text
    try:
        return read_json(part.data)
    except InvalidRequest:
        if part.name == "messages":
            raise
        return text


def _put(images: Sequence[bytes], messages: list[Any]) -> None:
    slots = list(_slots(messages))
    if not slots and images:
        slots = [_appended(messages) for _ in images]
    if len(slots) != len(images):
        told = f"messages have {len(slots)} places for images ({SLOT}), the form has {len(images)} images."
        raise InvalidRequest(told, param="images", retry=False)
    for holder, image in zip(slots, images, strict=True):
        holder["url"] = image


def _slots(messages: list[Any]) -> Iterator[dict[str, Any]]:
    """What holds the `url` of each image part that waits for a file."""
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else ():
            match part:
                case {"image_url": {"url": url} as holder} if url == SLOT:
                    yield holder
                case {"image_url": url} if url == SLOT:
                    part["image_url"] = {"url": url}
                    yield part["image_url"]


def _appended(messages: list[Any]) -> dict[str, Any]:
    """A new image part at the end of the last message of the user."""
    for message in reversed(messages):
        match message:
            case {"role": "user", "content": str(text)}:
                message["content"] = [{"type": "text", "text": text}]
            case {"role": "user", "content": list()}:
                pass
            case _:
                continue
        holder: dict[str, Any] = {"url": SLOT}
        message["content"].append({"type": "image_url", "image_url": holder})
        return holder
    raise InvalidRequest("messages have no message of the user for the images.", param="messages", retry=False)


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
