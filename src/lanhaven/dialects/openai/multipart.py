"""POST /v1/chat/completions/multipart: a chat whose images come as files of a form, without the third that Base64 adds.

`messages` is JSON in which an image part has the address `__RAW_IMAGE__`, once for each file in `images`, in their
order; without any, the files belong to the last message of the user. All other fields are those of a chat.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lanhaven.dialects.base import Headers
from lanhaven.dialects.forms import FormReader, boundary_of
from lanhaven.dialects.openai.fields import MAX_STRING
from lanhaven.errors import InvalidRequest, PayloadTooLarge
from lanhaven.wire import read_json

SLOT = "__RAW_IMAGE__"
IMAGES = frozenset({"images", "images[]"})
TEXTS = frozenset({"model", "user"})  # never read as JSON: a model may be called 7
MOST_FIELD = 64 << 10  # bytes of a field other than messages


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a form; a file is one as well."""

    name: str
    data: bytes


class Form:
    """The parts of a form, as they come."""

    def __init__(self, headers: Headers) -> None:
        self.parts: list[Part] = []
        self._name = ""
        self._pieces: list[bytes] = []
        self._size = 0
        self._reader = FormReader(boundary_of(headers), self)

    async def read(self, pieces: AsyncIterator[bytes]) -> Sequence[Part]:
        """All parts. InvalidRequest for a form that is broken or cut short."""
        async for piece in pieces:
            self._reader.feed(piece)
        self._reader.close()
        return self.parts

    def begin_part(self, name: str, filename: str | None) -> None:
        """See `Receiver`."""
        self._name, self._pieces, self._size = name, [], 0

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._name not in IMAGES and self._size > (MAX_STRING if self._name == "messages" else MOST_FIELD):
            raise PayloadTooLarge(f"{self._name[:64]} is too long.", param=self._name[:64], retry=False)
        self._pieces.append(data[start:end])

    def end_part(self) -> None:
        self.parts.append(Part(self._name, b"".join(self._pieces)))
        self._pieces = []


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
