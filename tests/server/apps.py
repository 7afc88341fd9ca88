"""Small ASGI applications that tests of the listener serve."""

from __future__ import annotations

import asyncio
from typing import Any

from lanhaven.server.body import read_body

BODY = b'{"ok":true}'
LARGE = 8 << 20


class Recorder:
    """Answers 200 to everything and remembers it; some paths behave badly on purpose.

    `events` gets ("begun", path), then ("done", path) or ("cancelled", path).
    """

    def __init__(self) -> None:
        self.events: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.bodies: list[bytes] = []
        self.scopes: list[dict[str, Any]] = []
        self.free = asyncio.Event()  # lets /wait and /stream go on
        self.sent = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        self.scopes.append(scope)
        self.events.put_nowait(("begun", path))
        try:
            await self._serve(path, scope, receive, send)
        except asyncio.CancelledError:
            self.events.put_nowait(("cancelled", path))
            raise
        self.events.put_nowait(("done", path))

    async def _serve(self, path: str, scope: Any, receive: Any, send: Any) -> None:
        match path:
            case "/early":
                await answer(send)
            case "/stream" | "/endless" | "/silent":
                await self._stream(path, send)
            case "/large":
                await send(start([(b"content-length", b"%d" % LARGE)]))
                await send({"type": "http.response.body", "body": bytes(LARGE)})
            case "/boom":
                raise ValueError("a secret of the inside")
            case "/mute":
                return
            case "/inner-cancel":
                raise asyncio.CancelledError
            case "/half":
                await send(start([(b"content-length", b"100")]))
                await send({"type": "http.response.body", "body": b"half", "more_body": True})
                raise ValueError("a secret of the inside")
            case "/injection":
                await send(start([(b"content-length", b"0"), (b"x-a", b"b\r\nx-c: d")]))
            case _:
                self.bodies.append(await read_body(scope, receive, 1 << 20))
                if path == "/wait":
                    await self.free.wait()
                await answer(send)
                if path == "/after":
                    await self.free.wait()

    async def _stream(self, path: str, send: Any) -> None:
        await send(start([]))
        if path == "/silent":
            await self.free.wait()
        while path == "/endless":
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            self.sent += 65536
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await self.free.wait()
        await send({"type": "http.response.body", "body": b"last"})

    async def next_event(self) -> tuple[str, str]:
        async with asyncio.timeout(60):
            return await self.events.get()


def start(headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    """The head of a reply."""
    return {"type": "http.response.start", "status": 200, "headers": headers}


async def answer(send: Any) -> None:
    """A small whole reply."""
    await send(start([(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]))
    await send({"type": "http.response.body", "body": BODY})
