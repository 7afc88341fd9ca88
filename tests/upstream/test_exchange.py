"""Good replies, and leaving them: whole, streamed, aborted, cancelled, closed, too slow to read."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from time import monotonic

import pytest

from lanhaven.engines.scripted import Fault, ScriptedModel
from lanhaven.errors import EngineCrashed, GatewayError, InternalError, ServerShutdown, UpstreamError, UpstreamTimeout
from lanhaven.types.chat import Usage
from lanhaven.upstream.exchange import Exchange
from lanhaven.upstream.pool import Timers
from tests.upstream.conftest import Line, connected, content, raw_server, reply, request_of

pytestmark = pytest.mark.anyio
CRASH = EngineCrashed("The engine crashed.")


async def read(exchange: Exchange) -> bytes:
    out = b""
    while block := await exchange.more():
        out += block
    return out


async def test_a_whole_reply(line: Line) -> None:
    exchange = await line.send()
    assert exchange.status == 200
    assert exchange.headers[b"content-type"] == b"application/json"
    assert json.loads(await exchange.body())["choices"][0]["message"]["content"] == "one two three four"
    assert exchange.outcome.usage == Usage(4, 4)
    assert (exchange.outcome.finish_reason, exchange.outcome.status) == ("stop", 200)


async def test_a_stream(line: Line) -> None:
    exchange = await line.send(stream=True, stream_options={"include_usage": True})
    out = await read(exchange)
    assert content(out) == "one two three four"
    assert b'"choices":[]' in out
    assert out.endswith(b"data: [DONE]\n\n")
    assert exchange.outcome.usage == Usage(4, 4)
    assert await exchange.more() == b""


async def test_when_the_first_token_was_there(line: Line) -> None:
    before, streamed = monotonic(), await line.send(stream=True)
    await read(streamed)
    assert streamed.outcome.first_token is not None
    assert before <= streamed.outcome.first_token <= monotonic()
    whole = await line.send()
    await whole.body()
    assert whole.outcome.first_token is None  # who does not stream would have to say it


@pytest.mark.parametrize(
    ("told", "least", "most"), [(b"30.5", 0.03, 0.04), (b"99999999", 0.0, 60.0), (b'"x"', None, None)]
)
async def test_engines_may_say_how_long_they_wrote(line: Line, told: bytes, least: float | None, most: float) -> None:
    written = 0.0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        nonlocal written
        await request_of(reader)
        await asyncio.sleep(0.05)  # so that the writing fits into it
        body = b'{"choices":[{"index":0,"message":{},"finish_reason":"stop"}],"timings":{"predicted_ms":%b}}' % told
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        written = monotonic()
        writer.write(head + body)

    async with raw_server(answer) as raw:
        exchange = await line.client.send(raw.upstream, "/v1/chat/completions", b"{}", stream=False)
        await exchange.body()
        first = exchange.outcome.first_token
        assert (first is None) == (least is None)
        if first is not None and least is not None:
            assert first <= monotonic() - least
            assert first > written - most


async def test_each_kind_of_reply_has_its_reader(line: Line) -> None:
    streamed, whole = await line.send(stream=True), await line.send()
    with pytest.raises(InternalError):
        await streamed.body()
    with pytest.raises(InternalError):
        await whole.more()
    streamed.close()
    whole.close()


async def test_blocks_are_whole_frames(line: Line) -> None:
    line.server.script(Fault(split=7))
    exchange = await line.send(stream=True)
    while block := await exchange.more():
        assert block.endswith(b"\n\n")


async def test_usage_for_us_alone(line: Line) -> None:
    exchange = await line.send(stream=True, stream_options={"include_usage": True}, drop_usage=True)
    assert b'"choices":[]' not in await read(exchange)
    assert exchange.outcome.usage == Usage(4, 4)


@pytest.mark.parametrize("kind", ["embedding", "reranker"])
async def test_what_is_not_text(kind: str) -> None:
    async with connected(model=ScriptedModel(kind=kind)) as line:
        path, body = {
            "embedding": ("/v1/embeddings", {"input": ["a b", "c"]}),
            "reranker": ("/v1/rerank", {"query": "a", "documents": ["b", "a"]}),
        }[kind]
        exchange = await line.client.send(line.upstream, path, json.dumps(body).encode(), stream=False)
        await exchange.body()
        assert exchange.outcome.usage.prompt_tokens > 0
        assert exchange.outcome.finish_reason is None


async def test_a_unix_socket(tmp_path: Path) -> None:
    async with connected(socket=tmp_path / "s") as line:
        assert (await line.whole())["choices"]
        assert (await line.stream())[1] is None
        assert line.server.requests[0].headers["host"] == "localhost"


async def test_a_whole_reply_over_the_limit(line: Line) -> None:
    exchange = await line.send()
    with pytest.raises(UpstreamError, match="longer than 10 bytes"):
        await exchange.body(limit=10)


# Leaving


async def test_closing_a_stream_stops_the_engine(line: Line) -> None:
    exchange = await line.send(stream=True, mock={"tokens": 10_000, "interval": 0.001})
    await exchange.more()
    exchange.close()
    exchange.close()
    await line.server.until(lambda: line.server.disconnects == 1 and line.server.running == 0)
    with pytest.raises(InternalError):
        await exchange.more()


@pytest.mark.parametrize("stream", [False, True])
async def test_cancelling_the_send_stops_the_engine(line: Line, stream: bool) -> None:
    task = asyncio.create_task(line.send(stream=stream, mock={"delay": 60}))
    await line.server.until(lambda: line.server.running == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await line.server.until(lambda: line.server.disconnects == 1 and line.server.running == 0)


async def test_cancelling_a_read_leaves_it_readable(line: Line) -> None:
    exchange = await line.send(stream=True, mock={"do": "stall", "at": 1})
    out = b""
    while b"one" not in out:
        out += await exchange.more()
    task = asyncio.create_task(exchange.more())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    exchange.abort(CRASH)
    with pytest.raises(EngineCrashed):
        await exchange.more()


async def test_an_abort_reaches_a_pending_read_and_every_later_one(line: Line) -> None:
    exchange = await line.send(stream=True, mock={"do": "stall"})
    await exchange.more()
    task = asyncio.create_task(exchange.more())
    await asyncio.sleep(0)
    exchange.abort(CRASH)
    exchange.abort(ServerShutdown("too late"))
    for _ in range(2):
        with pytest.raises(EngineCrashed):
            await task
        with pytest.raises(EngineCrashed):
            await exchange.more()
    await line.server.until(lambda: line.server.disconnects == 1)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_abort_reaches_those_that_wait_for_their_head(line: Line, stream: bool) -> None:
    task = asyncio.create_task(line.send(stream=stream, mock={"delay": 60}))
    await line.server.until(lambda: line.server.running == 1)
    line.client.abort(line.upstream, CRASH)
    with pytest.raises(EngineCrashed):
        await task


async def test_an_abort_after_the_end_changes_nothing(line: Line) -> None:
    exchange = await line.send(stream=True)
    await read(exchange)
    exchange.abort(CRASH)
    assert await exchange.more() == b""
    whole = await line.send()
    body = await whole.body()
    whole.abort(CRASH)
    assert body


async def test_leaving_an_unread_reply(line: Line) -> None:
    (await line.send()).close()
    (await line.send(stream=True)).close()
    assert line.client.active == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_closing_the_client_ends_what_runs(stream: bool) -> None:
    async with connected() as line:
        task = asyncio.create_task(line.send(stream=stream, mock={"delay": 60}))
        await line.server.until(lambda: line.server.running == 1)
        await line.client.aclose()
        with pytest.raises(ServerShutdown):
            await task
        with pytest.raises(ServerShutdown):
            await line.send()


# Clocks


@pytest.mark.req("F-038")
async def test_a_stream_may_last_longer_than_any_silence() -> None:
    async with connected(Timers(idle=2, first_byte=2, total=0.1)) as line:
        out, error = await line.stream(mock={"tokens": 13, "interval": 0.2, "answer": "count"})
        assert (content(out).split()[-1], error) == ("tok12", None)


@pytest.mark.req("F-038")
async def test_a_total_for_streams_if_wanted() -> None:
    async with connected(Timers(stream_total=0.2)) as line:
        out, error = await line.stream(mock={"tokens": 1000, "interval": 0.01})
        assert isinstance(error, UpstreamTimeout)
        assert "did not end its reply within 0.2 s" in error.message
        assert b"tok0" in out


async def test_a_slow_reader_is_no_silent_upstream() -> None:
    async with connected(Timers(idle=0.05)) as line:
        exchange = await line.send(stream=True)
        await exchange.more()
        done = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, done.set)  # the client thinks
        await done.wait()
        assert (await read(exchange)).endswith(b"[DONE]\n\n") or exchange.outcome.finish_reason == "stop"


async def test_a_slow_reader_costs_bounded_memory(line: Line) -> None:
    """P24: the upstream is left waiting, not our memory filled."""
    exchange = await line.send(stream=True, mock={"answer": "count", "tokens": 60_000})
    await line.server.until(lambda: line.server.blocked == 1)
    unread = sum(map(len, exchange._connection.parts))
    assert 0 < unread < 1 << 20
    assert content(await read(exchange)) == " ".join(f"tok{number}" for number in range(60_000))


async def test_streams_do_not_mix(line: Line) -> None:
    async def one(number: int) -> tuple[str, GatewayError | None]:
        out, error = await line.stream(
            mock={"answer": "count", "tokens": 50, "nonce": f"{number}-", "interval": 0.0001}
        )
        return content(out), error

    results = await asyncio.gather(*(one(number) for number in range(20)))
    for number, (text, error) in enumerate(results):
        assert error is None
        assert text == " ".join(f"{number}-tok{token}" for token in range(50))
    assert line.server.generations == 20
    assert line.server.most_running <= line.server.model.slots


async def test_repr_says_where_it_stands(line: Line) -> None:
    exchange = await line.send(stream=True, mock={"do": "stall"})
    assert "open 200 /v1/chat/completions 'mock'" in repr(exchange)
    assert repr(line.client) == "UpstreamClient(active=1 open=1 idle=0)"
    exchange.abort(CRASH)
    assert "over" in repr(exchange)
    assert "engine_crashed" in repr(exchange)


async def test_a_reply_before_the_request_was_read(line: Line) -> None:
    """A server that refuses a large body early: its words arrive, not a broken pipe."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"error":{"message":"too much"}}'
        writer.write(b"HTTP/1.1 413 No\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        await reader.read()

    async with raw_server(answer) as raw:
        error = await line.fails(upstream=raw.upstream, text="x" * (8 << 20))
        assert (error.code, error.message) == ("payload_too_large", "too much")


async def test_a_stream_without_a_length_or_a_type(line: Line) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await request_of(reader)
        chunk = b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n'
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + chunk)

    async with raw_server(answer) as raw:
        out, error = await line.stream(upstream=raw.upstream)
        assert (content(out), error) == ("hi", None)
    assert reply(b"x").endswith(b"}")
