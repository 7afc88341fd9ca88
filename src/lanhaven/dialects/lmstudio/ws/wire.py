"""A WebSocket as frames of JSON: one sender at a time, and no frame is ever held for a client that does not read.

Waiting for a slow client is the listener's business (it pauses the application, and lets the client go after a while);
here senders queue up behind each other, so what waits is one frame for each call and channel that runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from enum import Enum
from typing import Any

from lanhaven.errors import InvalidRequest
from lanhaven.wire import encode, read_object

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

GOING_DOWN = 1012


class Sign(Enum):
    """What came instead of a message."""

    GONE = "the client left"
    DRAIN = "the server goes down"


class Wire:
    """The server's end of an accepted WebSocket."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._turn = asyncio.Lock()
        self.closed = False

    async def accept(self) -> bool:
        """Take the offer; False if the client is gone already."""
        if (await self._receive())["type"] != "websocket.connect":
            return False
        await self._send({"type": "websocket.accept"})
        return True

    async def receive(self) -> str | Sign:
        """The next message as it came."""
        message = await self._receive()
        match message["type"]:
            case "websocket.receive":
                text: str | None = message.get("text")
                return text if text is not None else ""  # the protocol has no binary messages: an unreadable one
            case "lanhaven.drain":
                return Sign.DRAIN
            case _:
                self.closed = True
                return Sign.GONE

    async def send(self, frame: Mapping[str, Any]) -> None:
        """Send a frame, in turn. Nothing is sent on a closed wire."""
        text = encode(frame).decode()
        async with self._turn:
            if self.closed:
                await asyncio.sleep(0)  # whoever sends in a loop would else never let it be told that the client left
            else:
                await self._tell({"type": "websocket.send", "text": text})

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye; `receive` then tells that the client is gone."""
        async with self._turn:
            if not self.closed:
                self.closed = True
                await self._tell({"type": "websocket.close", "code": code, "reason": reason})

    async def _tell(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:  # the client is gone; the reader hears of it as well
            self.closed = True


def read_frame(text: str) -> dict[str, Any] | None:
    """A message as a JSON object; None if it is none."""
    try:
        return read_object(text.encode())
    except (InvalidRequest, UnicodeEncodeError):
        return None
