"""Is the engine alive? One timed GET /health on its own listener.

A stopped process still accepts connections (the kernel does), and `waitpid` says it lives: only an answer proves it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Address:
    """Where a child listens: a unix socket, or a port on 127.0.0.1 with `socket` None."""

    socket: str | None = None
    port: int = 0

    @property
    def base_url(self) -> str | None:
        return None if self.socket is not None else f"http://127.0.0.1:{self.port}"


async def answers(address: Address, key: str, timeout: float) -> bool:
    """Whether any HTTP status came back in time. 503 counts: that is how llama.cpp says "still loading"."""
    try:
        async with asyncio.timeout(timeout):
            return (await _status_line(address, key)).startswith(b"HTTP/1.")
    except (OSError, ValueError):  # TimeoutError is an OSError; ValueError is a line over the reader's limit
        return False


async def _status_line(address: Address, key: str) -> bytes:
    reader, writer = await _connect(address)
    try:
        writer.write(
            f"GET /health HTTP/1.1\r\nHost: engine\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n".encode()
        )
        return await reader.readline()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _connect(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if address.socket is None:
        return await asyncio.open_connection("127.0.0.1", address.port)
    if sys.platform == "win32":
        raise OSError("no unix sockets here")
    return await asyncio.open_unix_connection(address.socket)
