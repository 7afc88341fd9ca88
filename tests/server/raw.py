"""HTTP by hand on a real socket: for what no client library would send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PATIENCE = 60.0  # seconds after which a missing answer fails the test


@dataclass(frozen=True)
class Reply:
    """One answer from the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Raw:
    """A connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self, *, head: bool = False) -> Reply:
        """The next answer; ConnectionError if the server closes instead."""
        async with asyncio.timeout(PATIENCE):
            try:
                block = await self.reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError as error:
                raise ConnectionError(f"closed after {error.partial!r}") from None
            first, *lines = block.decode("latin-1").rstrip("\r\n").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            assert len(headers) == len(lines), f"a header came twice: {lines}"
            return Reply(int(first.split()[1]), headers, b"" if head else await self._body(headers))

    async def _body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        body = b""
        while headers.get("transfer-encoding") == "chunked":
            piece = await self.chunk()
            if not piece:
                break
            body += piece
        return body

    async def chunk(self) -> bytes:
        """The next chunk of a chunked body; b"" for the last one."""
        async with asyncio.timeout(PATIENCE):
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            return (await self.reader.readexactly(size + 2))[:-2]

    async def ended(self) -> bytes:
        """What comes until the server closes."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    def half_close(self) -> None:
        self.writer.write_eof()

    async def leave(self) -> None:
        """Go, at once."""
        self.writer.transport.abort()
        await asyncio.sleep(0)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Raw]:
    """A connection to the server at `url`."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=1 << 22)
    try:
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()


async def ask(url: str, data: bytes) -> Reply:
    """Send one request on a connection of its own; its answer."""
    async with connected(url) as raw:
        await raw.send(data)
        return await raw.reply(head=data.startswith(b"HEAD"))


def get(path: str = "/", *headers: str, host: str = "localhost", method: str = "GET") -> bytes:
    """A request without a body."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def post(path: str = "/", body: bytes = b"{}", *headers: str, host: str = "localhost", method: str = "POST") -> bytes:
    """A request with a body of known length."""
    return get(path, f"Content-Length: {len(body)}", *headers, host=host, method=method) + body
