"""A client on a raw socket, and readers of streamed chats, for tests of the whole server."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

from tests.serving import House

ASK = [{"role": "user", "content": "one two three four five six"}]


def frames(text: str) -> list[str]:
    return [line[6:] for line in text.splitlines() if line.startswith("data: ")]


def words(text: str) -> str:
    """The content of a stream, frame by frame."""
    parts = [json.loads(frame) for frame in frames(text) if frame != "[DONE]"]
    return "".join(choice["delta"].get("content") or "" for part in parts for choice in part.get("choices", ()))


class Socket:
    """A client on a raw socket, which can leave whenever it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def ask(cls, house: House, *, partial: bool = False, **fields: Any) -> Socket:
        url = urlsplit(house.url)
        body = json.dumps({"messages": ASK, **fields}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\n"
        socket = cls(*await asyncio.open_connection(url.hostname, url.port))
        socket.writer.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body))
        socket.writer.write(body[: len(body) // 2] if partial else body)
        await socket.writer.drain()
        return socket

    async def leave(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()
