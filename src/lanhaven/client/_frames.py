"""Server-Sent Events: bytes in, events out; and what the streams of the servers hold. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lanhaven import wire
from lanhaven.client._errors import StreamingFailed
from lanhaven.errors import InvalidRequest

DONE = "[DONE]"


@dataclass(frozen=True, slots=True)
class Frame:
    """One event. `data` is None in a mere comment."""

    event: str | None
    data: str | None
    id: str | None = None

    def object(self) -> Mapping[str, Any]:
        """Its JSON object. StreamingFailed if it holds none."""
        try:
            return wire.read_object((self.data or "").encode())
        except InvalidRequest:
            raise StreamingFailed("The server sent a piece that is not JSON.") from None


class FrameReader:
    """Feed it the bytes as they come."""

    def __init__(self) -> None:
        self._splitter = wire.FrameSplitter()

    @property
    def cut(self) -> bool:
        """Whether a frame has begun that is not whole."""
        return bool(self._splitter.rest.strip())

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are whole now. StreamingFailed for one without end."""
        try:
            block = self._splitter.feed(data)
        except ValueError as error:
            raise StreamingFailed(f"The server's stream cannot be read: {error}.") from None
        frames = (_frame(each) for each in wire.frames_of(block)) if block else ()
        return [each for each in frames if each.data is not None]


def _frame(block: bytes) -> Frame:
    said: dict[str, str] = {}
    for line in block.splitlines():
        name, _, value = line.decode("utf-8", "replace").partition(":")
        if name in ("event", "id"):
            said[name] = value.removeprefix(" ")
    data = wire.data_of(block)
    return Frame(said.get("event"), None if data is None else data.decode("utf-8", "replace"), said.get("id"))
