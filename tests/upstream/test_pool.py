"""Connections: kept, given up, found stale, and not to be had at all."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from lanhaven.engines.scripted import Fault, ScriptedServer
from lanhaven.errors import GatewayError, InternalError, ProviderUnavailable, UpstreamError, UpstreamTimeout
from lanhaven.types.models import Upstream
from lanhaven.upstream.pool import Timers
from tests.upstream.conftest import Line, connected, raw_server, reply, request_of

pytestmark = pytest.mark.anyio


async def test_whole_replies_share_a_connection(line: Line) -> None:
    for _ in range(3):
        await line.whole()
    assert line.server.connections == 1
    assert (line.client.open, line.client.idle) == (1, 1)


async def test_streams_share_a_connection(line: Line) -> None:
    for _ in range(3):
        assert (await line.stream())[1] is None
    await line.whole()
    assert line.server.connections == 1


async def test_no_reuse_after_a_stream_where_it_is_unsafe(line: Line) -> None:
    """llama.cpp closes after a streamed reply without saying so; about one request in three would die of it."""
    careful = replace(line.upstream, reuse_after_stream=False)
    await line.whole(upstream=careful)
    await line.stream(upstream=careful)
    await line.whole(upstream=careful)
    await line.whole(upstream=careful)
    assert line.server.connections == 2
    assert len(line.server.requests) == 4


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(status=404, error="no such route")])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_reply_keeps_its_connection(line: Line, fault: Fault, stream: bool) -> None:
    line.server.script(fault)
    assert isinstance(await line.fails(stream=stream), GatewayError)
    await line.whole()
    assert line.server.connections == 1


async def test_concurrent_requests_have_connections_of_their_own(line: Line) -> None:
    await asyncio.gather(*(line.whole() for _ in range(40)))
    assert line.server.connections == 40
    assert line.client.idle == 32  # no more are kept


async def test_the_connection_used_last_is_used_next() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        while await request_of(reader):
            writer.write(reply(b"%d" % number))

    async with connected() as line, raw_server(answer) as raw:
        await asyncio.gather(line.whole(upstream=raw.upstream), line.whole(upstream=raw.upstream))
        used = {(await line.whole(upstream=raw.upstream))["choices"][0]["message"]["content"] for _ in range(5)}
        assert len(used) == 1


async def test_idle_connections_are_given_up() -> None:
    async with connected(Timers(keep=0.05)) as line:
        await line.whole()
        assert line.client.idle == 1
        await line.server.until(lambda: line.server.open == 0)
        assert (line.client.open, line.client.idle) == (0, 0)
        await line.whole()


async def test_none_are_kept_if_told() -> None:
    async with connected(Timers(keep=0)) as line:
        await line.whole()
        assert line.client.idle == 0


async def test_upstreams_at_one_address_share_connections_not_headers(line: Line) -> None:
    other = replace(line.upstream, headers=(("authorization", "Bearer b"),), prefix="/sub")
    await line.whole()
    await line.client.get(other, "/v1/models")
    assert line.server.connections == 1
    assert "authorization" not in line.server.requests[0].headers
    assert line.server.requests[1].headers["authorization"] == "Bearer b"
    assert line.server.requests[1].path == "/sub/v1/models"


async def test_get(line: Line) -> None:
    status, body = await line.client.get(line.upstream, "/v1/models")
    assert status == 200
    assert b'"mock"' in body
    assert (await line.client.get(line.upstream, "/nowhere"))[0] == 404
    line.server.script(Fault(delay=60))
    with pytest.raises(UpstreamTimeout):
        await line.client.get(line.upstream, "/health", timeout=0.05)


# Stale connections


@pytest.mark.req("F-021")
async def test_a_stale_connection_is_replaced_once_unseen() -> None:
    served: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await request_of(reader)
        served.append(number)
        writer.write(reply())
        await reader.readexactly(1)  # the next request: the server, restarted, knows nothing of this connection

    async with connected() as line, raw_server(answer) as raw:
        for stream in (False, False):
            await line.whole(upstream=raw.upstream, stream=stream)
        assert served == [1, 2]
        assert raw.connections == 2


@pytest.mark.req("F-021")
@pytest.mark.parametrize("said", [b"", b"H", b"HTTP/1.1 200 OK\r\n"])
async def test_no_second_generation(said: bytes) -> None:
    """A fresh connection that dies is not replaced, nor is a used one once a byte of the reply has come."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        if said:
            await request_of(reader)
            writer.write(reply())
        await request_of(reader)
        writer.write(said)
        await writer.drain()

    async with connected() as line, raw_server(answer) as raw:
        if said:
            await line.whole(upstream=raw.upstream)
        assert isinstance(await line.fails(upstream=raw.upstream), UpstreamError)
        assert raw.connections == 1


@pytest.mark.req("F-021")
async def test_a_restarted_server_is_met_on_a_fresh_connection() -> None:
    async with connected() as line:
        await line.whole()
        port = int(str(line.upstream.base_url).rpartition(":")[2])
        await line.server.aclose()
        async with ScriptedServer(port=port) as again:
            await line.whole()
            assert again.generations == 1


# No connection


def nowhere() -> Upstream:
    return Upstream(model="lost", base_url="http://127.0.0.1:1")


@pytest.mark.parametrize("upstream", [nowhere(), Upstream(model="lost", socket="/nonexistent/socket")])
async def test_an_absent_server(line: Line, upstream: Upstream) -> None:
    error = await line.fails(upstream=upstream)
    assert isinstance(error, ProviderUnavailable)
    assert error.facts["connect"] is True
    assert "'lost' is not running" in error.message
    assert "127.0.0.1" not in error.message


async def test_a_name_that_does_not_resolve(line: Line) -> None:
    error = await line.fails(upstream=Upstream(model="lost", base_url="http://nowhere.invalid"))
    assert isinstance(error, ProviderUnavailable)
    assert "invalid" not in error.message


@pytest.mark.req("F-038")
async def test_a_connection_that_takes_too_long() -> None:
    met = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        met.set()
        await reader.read()  # never a TLS hello back

    async with connected(Timers(connect=0.5)) as line, raw_server(answer) as raw:
        silent = Upstream(model="lost", base_url=f"https://127.0.0.1:{raw.port}")
        error = await line.fails(upstream=silent)
        assert isinstance(error, ProviderUnavailable)
        assert "does not answer" in error.message
        assert line.client.open == 0
        await met.wait()  # a busy machine accepts later than we give up


async def test_cancelling_a_connect_leaves_nothing(line: Line) -> None:
    met = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        met.set()
        await reader.read()

    async with raw_server(answer) as raw:
        task = asyncio.create_task(line.send(upstream=Upstream(model="m", base_url=f"https://127.0.0.1:{raw.port}")))
        await met.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (line.client.active, line.client.open) == (0, 0)


async def test_a_connect_cancelled_at_any_moment_leaves_no_socket(line: Line) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(b"x" if await reader.read(1) == b"x" else b"")
        await reader.read()  # until it is closed

    async with raw_server(answer) as raw:
        upstream = Upstream(model="m", base_url=f"https://127.0.0.1:{raw.port}")
        for turns in range(24):
            task = asyncio.create_task(line.send(upstream=upstream))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert line.client.open == 0
        async with asyncio.timeout(60):
            echo, last = await asyncio.open_connection("127.0.0.1", raw.port)
            last.write(b"x")
            await echo.readexactly(1)  # all others were accepted before
            last.close()
            await last.wait_closed()
            while raw.tasks:
                await asyncio.wait(tuple(raw.tasks))


@pytest.mark.parametrize(
    "upstream",
    [
        Upstream(model="m"),
        Upstream(model="m", base_url="ftp://host"),
        Upstream(model="m", base_url="http://h", headers=(("x", "a\r\ny: b"),)),
        Upstream(model="m", base_url="http://h", headers=(("x", "ü"),)),
    ],
)
async def test_an_upstream_that_cannot_be_one(line: Line, upstream: Upstream) -> None:
    with pytest.raises(InternalError):
        await line.send(upstream=upstream)


async def test_many_upstreams_are_forgotten_in_time(line: Line) -> None:
    for number in range(600):
        await line.fails(upstream=replace(nowhere(), model=f"m{number}"))
    await line.whole()
    assert line.client.idle == 1
    assert len(line.client._targets) <= 512
