"""A server in a process of its own, for the signals. Prints its URL, then what the shutdown tells it.

Usage: python -m tests.server.shutdown_program DRAIN LIMIT
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from lanhaven.server.limits import ListenerLimits
from lanhaven.server.listener import run, serve
from lanhaven.server.shutdown import Shutdown
from lanhaven.server.sockets import Address


def say(text: str) -> None:
    """Tell the test."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class App:
    """Streams that end with an error frame when they must, and a way to hang the whole loop."""

    def __init__(self, shutdown: Shutdown) -> None:
        self.shutdown = shutdown
        self.aborted = asyncio.Event()
        self.refused = asyncio.Event()
        shutdown.on_abort(self.aborted.set)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        if self.shutdown.draining:
            await self.reply(send, 503, b"going down")
            self.refused.set()
        elif path == "/hang":
            say("hanging")
            until = time.monotonic() + 60
            while time.monotonic() < until:
                pass
        elif path in {"/stream", "/deaf"}:
            await self.stream(send, hears=path == "/stream")
        else:
            if path == "/short":
                await self.refused.wait()
            await self.reply(send, 200, b"done")

    async def stream(self, send: Any, *, hears: bool) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        if hears:
            await self.aborted.wait()
        else:
            await asyncio.Event().wait()
        await send({"type": "http.response.body", "body": b"server_shutdown"})

    async def reply(self, send: Any, status: int, body: bytes) -> None:
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def main(drain: float, limit: float) -> None:
    """Serve until told to stop."""
    shutdown = Shutdown()
    shutdown.on_drain(lambda: say(f"draining {shutdown.reason}"))
    shutdown.on_abort(lambda: say("aborting"))
    shutdown.on_reload(lambda: say("reloading"))
    limits = ListenerLimits(drain_timeout=drain, abort_grace=1.0, shutdown_timeout=limit)
    await serve(
        App(shutdown),
        [Address("127.0.0.1", 0)],
        limits,
        on_ready=lambda bound: say(bound[0].url),
        shutdown=shutdown,
    )
    say("stopped")


if __name__ == "__main__":
    run(main(float(sys.argv[1]), float(sys.argv[2])))
