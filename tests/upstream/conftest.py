"""A client and a scripted server with a socket between them, on both event loops; and a server of a few raw lines."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from lanhaven.engines.scripted import ScriptedServer
from lanhaven.errors import GatewayError
from lanhaven.types.models import Upstream
from lanhaven.upstream.exchange import Exchange
from lanhaven.upstream.pool import Timers, UpstreamClient

CHAT = "/v1/chat/completions"
SHORT = Timers(connect=0.3, first_byte=0.2, total=0.2, idle=0.2)
LONG = Timers()


@pytest.fixture(
    params=[True, False] if sys.platform != "win32" else [False], ids=lambda uvloop: "uv" if uvloop else "py"
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


@dataclass
class Line:
    """A client, a server, and a chat request between them."""

    client: UpstreamClient
    server: ScriptedServer
    upstream: Upstream

    async def send(
        self,
        *,
        stream: bool = False,
        text: str = "one two three four",
        path: str = CHAT,
        drop_usage: bool = False,
        upstream: Upstream | None = None,
        **fields: Any,
    ) -> Exchange:
        body = {"model": "mock", "messages": [{"role": "user", "content": text}], "stream": stream, **fields}
        target = upstream or self.upstream
        return await self.client.send(target, path, json.dumps(body).encode(), stream=stream, drop_usage=drop_usage)

    async def whole(self, **fields: Any) -> dict[str, Any]:
        exchange = await self.send(**fields)
        value: dict[str, Any] = json.loads(await exchange.body())
        return value

    async def stream(self, **fields: Any) -> tuple[bytes, GatewayError | None]:
        """All that passed, and the error that ended it."""
        out = b""
        try:
            exchange = await self.send(stream=True, **fields)
            while block := await exchange.more():
                out += block
        except GatewayError as error:
            return out, error
        return out, None

    async def fails(self, *, stream: bool = False, **fields: Any) -> GatewayError:
        """The error of a request that must have one."""
        if stream:
            _, error = await self.stream(**fields)
            assert error is not None
            return error
        with pytest.raises(GatewayError) as caught:
            await self.whole(**fields)
        return caught.value


def content(data: bytes) -> str:
    """The text of all chunks of a stream."""
    lines = [line[6:] for line in data.decode().splitlines() if line.startswith("data: {")]
    deltas = [choice["delta"] for line in lines for choice in json.loads(line)["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


def tasks() -> set[asyncio.Task[Any]]:
    """All tasks but those of the test runner."""
    return {task for task in asyncio.all_tasks() if "TestRunner" not in repr(task)}


@asynccontextmanager
async def connected(timers: Timers = LONG, **server: Any) -> AsyncIterator[Line]:
    """At the end nothing is left: no exchange, no connection on either side, no task."""
    before = tasks()
    async with ScriptedServer(**server) as scripted:
        client = UpstreamClient(timers)
        yield Line(client, scripted, scripted.upstream())
        assert client.active == 0, client
        await client.aclose()
        assert (client.open, client.idle) == (0, 0)
        await scripted.until(lambda: scripted.open == 0 and scripted.running == 0)
    assert tasks() <= before


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with connected() as made:
        yield made


@pytest.fixture
async def hasty() -> AsyncIterator[Line]:
    """With timers of a fraction of a second."""
    async with connected(SHORT) as made:
        yield made


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]


@dataclass
class RawServer:
    """Each connection is one call of `answer(reader, writer, number)`; it is closed when that returns."""

    answer: Answer
    connections: int = 0
    port: int = 0
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    @property
    def upstream(self) -> Upstream:
        return Upstream(model="raw", base_url=f"http://127.0.0.1:{self.port}")

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Known from here on: a task of the stream's own making is in no set before its first step."""
        self.connections += 1
        task = asyncio.ensure_future(self._serve(reader, writer, self.connections))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        # Not in a `finally` of the task: one that is cancelled before its first step has none.
        task.add_done_callback(lambda _: writer.close())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self.answer(reader, writer, number)


@asynccontextmanager
async def raw_server(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    raw = RawServer(answer)
    server = await asyncio.start_server(raw.accept, "127.0.0.1", 0, ssl=tls)
    raw.port = server.sockets[0].getsockname()[1]
    async with server:
        yield raw
        server.close()
        running = tuple(raw.tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def request_of(reader: asyncio.StreamReader) -> bytes:
    """One request's body, read to its end."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return await reader.readexactly(length)


REPLY_BODY = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"%b"},"finish_reason":"stop"}]}'


def reply(text: bytes = b"hello", head: bytes = b"") -> bytes:
    body = REPLY_BODY % text
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b" % (
        head,
        len(body),
        body,
    )
