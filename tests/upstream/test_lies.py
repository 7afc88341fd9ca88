"""Upstreams that break the protocol: nothing false reaches the client, and nothing true is lost (F-031 to F-049)."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import psutil
import pytest

from lanhaven.engines.scripted import Act, Fault
from lanhaven.errors import (
    ContextLengthExceeded,
    GatewayError,
    InvalidRequest,
    QueueFull,
    UnsupportedFeature,
    UpstreamError,
    UpstreamTimeout,
)
from lanhaven.types.chat import Usage
from tests.upstream.conftest import REPLY_BODY, Line, content, raw_server, reply, request_of

pytestmark = pytest.mark.anyio
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("fault", "passed"),
    [
        pytest.param(Fault(do=Act.FIN, at=2), "one two", marks=pytest.mark.req("F-031")),
        pytest.param(Fault(do=Act.RST, at=2), None, marks=pytest.mark.req("F-032")),
        pytest.param(Fault(do=Act.HALF, at=2), "one two", marks=pytest.mark.req("F-033")),
        pytest.param(Fault(do=Act.END, at=2), "one two", marks=pytest.mark.req("F-035")),
        pytest.param(Fault(finish=False, done=False), "one two three four", marks=pytest.mark.req("F-035")),
        pytest.param(Fault(do=Act.ERROR, at=2), "one two", marks=pytest.mark.req("F-043")),
        pytest.param(Fault(do=Act.ERROR, at=2, error_style="event"), "one two", marks=pytest.mark.req("F-043")),
        pytest.param(Fault(do=Act.ERROR, at=2, error_style="line"), "one two", marks=pytest.mark.req("F-043")),
        pytest.param(Fault(do=Act.FRAME, at=2, frame="data: {x}\n\n"), "one two", marks=pytest.mark.req("F-044")),
        pytest.param(Fault(do=Act.FRAME, at=2, frame="data: []\n\n"), "one two", marks=pytest.mark.req("F-044")),
    ],
)
async def test_a_stream_that_goes_wrong_ends_in_an_error(line: Line, fault: Fault, passed: str | None) -> None:
    line.server.script(fault)
    out, error = await line.stream()
    assert isinstance(error, UpstreamError)
    assert DONE not in out
    if passed is not None:  # a reset takes with it what the socket still held
        assert content(out) == passed
    assert out == b"" or out.endswith(b"\n\n")


@pytest.mark.req("F-034")
async def test_a_missing_done_is_added(line: Line) -> None:
    line.server.script(Fault(done=False))
    out, error = await line.stream()
    assert (content(out), out.endswith(DONE), error) == ("one two three four", True, None)


@pytest.mark.req("F-036")
async def test_nothing_passes_after_done(line: Line) -> None:
    line.server.script(Fault(trail='data: {"choices":[{"index":0,"delta":{"content":"late"}}]}\n\ndata: [DONE]\n\n'))
    out, error = await line.stream()
    assert (content(out), out.count(DONE), error) == ("one two three four", 1, None)


@pytest.mark.parametrize("act", [Act.FIN, Act.RST])
@pytest.mark.parametrize("framing", ["", "chunked"])
@pytest.mark.req("F-031", "F-032", "F-037")
async def test_a_whole_reply_cut_short_is_an_error(line: Line, framing: str, act: Act) -> None:
    line.server.script(Fault(do=act, at=40, framing=framing))
    assert isinstance(await line.fails(), UpstreamError)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(length=50),
        Fault(length=-1),
        Fault(length=-20),
        Fault(framing="double"),
        Fault(framing="close", do=Act.FIN, at=60),
    ],
    ids=["too long", "one short", "too short", "two", "absent and cut"],
)
@pytest.mark.req("F-037")
async def test_lengths_that_lie(line: Line, fault: Fault) -> None:
    line.server.script(fault)
    assert isinstance(await line.fails(), UpstreamError)


@pytest.mark.req("F-037")
async def test_no_length_at_all_is_fine_if_the_json_is_complete(line: Line) -> None:
    line.server.script(Fault(framing="close"))
    assert (await line.whole())["choices"][0]["message"]["content"] == "one two three four"
    assert line.client.idle == 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.req("F-038")
async def test_silence_before_the_head(hasty: Line, stream: bool) -> None:
    hasty.server.script(Fault(do=Act.STALL, at=-1))
    error = await hasty.fails(stream=stream)
    assert isinstance(error, UpstreamTimeout)
    assert "sent nothing" in error.message if stream else "completely" in error.message
    await hasty.server.until(lambda: hasty.server.disconnects == 1)


@pytest.mark.parametrize(("at", "passed", "text"), [(0, "", "fell silent"), (2, "one two", "fell silent")])
@pytest.mark.req("F-038")
async def test_silence_within_a_stream(hasty: Line, at: int, passed: str, text: str) -> None:
    hasty.server.script(Fault(do=Act.STALL, at=at))
    out, error = await hasty.stream()
    assert isinstance(error, UpstreamTimeout)
    assert text in error.message
    assert content(out) == passed
    await hasty.server.until(lambda: hasty.server.disconnects == 1)


@pytest.mark.req("F-038")
async def test_silence_between_head_and_body(hasty: Line) -> None:
    hasty.server.script(Fault(delay_body=30))
    error = await hasty.fails(stream=True)
    assert isinstance(error, UpstreamTimeout)
    assert "sent nothing" in error.message


@pytest.mark.req("F-038")
async def test_an_error_body_that_stalls_is_still_an_error(hasty: Line) -> None:
    hasty.server.script(Fault(status=429, do=Act.STALL, at=5, headers={"retry-after": "7"}))
    error = await hasty.fails(stream=True)
    assert isinstance(error, QueueFull)
    assert error.retry_after == 7


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.req("F-039")
async def test_every_byte_alone(line: Line, line_end: str) -> None:
    text = "grüße 你好 😀 naïve"
    line.server.script(Fault(line_end=line_end), Fault(split=1, line_end=line_end))
    (at_once, _), (split, error) = await line.stream(text=text), await line.stream(text=text)
    assert (split, error) == (at_once, None)
    assert content(split) == text


@pytest.mark.parametrize(
    ("fault", "stream"),
    [
        (Fault(line_bytes=100 << 20), True),
        *(
            (fault, stream)
            for fault in (Fault(header_bytes=1 << 20), Fault(flood=10_000), Fault(flood=101))
            for stream in (False, True)
        ),
    ],
)
@pytest.mark.req("F-040")
async def test_giants_are_refused(line: Line, fault: Fault, stream: bool) -> None:
    before = psutil.Process().memory_info().rss
    line.server.script(fault)
    assert isinstance(await line.fails(stream=stream), UpstreamError)
    assert psutil.Process().memory_info().rss - before < 30 << 20


@pytest.mark.parametrize("trailer", [b"x-t: " + b"x" * (200 << 10), b"x-t: y\r\n" * 10_000])
@pytest.mark.req("F-040")
async def test_giant_trailers_are_refused(line: Line, trailer: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await request_of(reader)
        body = REPLY_BODY % b"x"
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(body), body))
        writer.write(trailer)
        await reader.read()

    async with raw_server(answer) as raw:
        assert isinstance(await line.fails(upstream=raw.upstream), UpstreamError)


@pytest.mark.parametrize("encoding", ["gzip", "br", "x-unknown"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.req("F-041")
async def test_an_encoded_reply_is_refused(line: Line, encoding: str, stream: bool) -> None:
    line.server.script(Fault(headers={"content-encoding": encoding}))
    assert "compressed" in (await line.fails(stream=stream)).message
    assert line.server.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.req("F-042")
async def test_redirects_are_not_followed(line: Line, stream: bool) -> None:
    line.server.script(Fault(status=302, headers={"location": "http://169.254.169.254/latest/meta-data"}))
    error = await line.fails(stream=stream)
    assert isinstance(error, UpstreamError)
    assert "169.254" not in error.message
    assert len(line.server.requests) == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(status=401, error="no key"), UpstreamError),
        (Fault(status=403, error="not you"), UpstreamError),
        (Fault(status=429, error="slow down", headers={"retry-after": "7"}), QueueFull),
        (Fault(status=500, body="<html>oops</html>", content_type="text/html"), UpstreamError),
        (Fault(status=200, body="<html>oops</html>", content_type="text/html"), UpstreamError),
        (Fault(status=500, body="oops", content_type="text/html"), UpstreamError),
        (Fault(status=400, error={"message": "n is wrong", "param": "n"}), InvalidRequest),
    ],
)
@pytest.mark.req("F-042")
async def test_error_replies(line: Line, fault: Fault, kind: type[GatewayError], stream: bool) -> None:
    line.server.script(fault)
    error = await line.fails(stream=stream)
    assert type(error) is kind
    assert "oops" not in error.message
    assert error.retry_after == (7 if kind is QueueFull else None)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ('{"error":{"message":"boom"}}', UpstreamError),
        ('{"error":"Unexpected endpoint or method. (POST /v1/chat/completions)"}', UnsupportedFeature),
        (
            '{"error":{"code":400,"type":"exceed_context_size_error","n_prompt_tokens":9,"n_ctx":4}}',
            ContextLengthExceeded,
        ),
    ],
)
@pytest.mark.req("F-043")
async def test_an_error_inside_a_success(line: Line, body: str, kind: type[GatewayError], stream: bool) -> None:
    line.server.script(Fault(status=200, body=body))
    assert type(await line.fails(stream=stream)) is kind


async def test_a_stream_asked_for_and_not_given(line: Line) -> None:
    line.server.script(Fault(status=200, body=(REPLY_BODY % b"hi").decode()))
    assert isinstance(await line.fails(stream=True), UpstreamError)


@pytest.mark.parametrize(
    "body", ['{"choices":[', "[]", '{"choices":[]}', "{}", "", "null", "plain", '{"choices":null}']
)
@pytest.mark.req("F-044")
async def test_a_whole_reply_that_is_none(line: Line, body: str) -> None:
    line.server.script(Fault(status=200, body=body))
    assert isinstance(await line.fails(), UpstreamError)


@pytest.mark.req("F-045")
async def test_a_tool_call_cut_in_its_arguments(line: Line) -> None:
    line.server.script(Fault(tool="weather", arguments={"city": "Reykjavik"}, do=Act.END, at=2))
    out, error = await line.stream()
    assert b"weather" in out
    assert isinstance(error, UpstreamError)
    assert DONE not in out


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.req("F-046")
async def test_nonsense_counts_are_zero(line: Line, stream: bool) -> None:
    line.server.script(Fault(usage={"prompt_tokens": -5, "completion_tokens": 2**63}))
    exchange = await line.send(stream=stream, stream_options={"include_usage": True})
    while stream and await exchange.more():
        pass
    if not stream:
        await exchange.body()
    assert exchange.outcome.usage == Usage(0, 0, 0)
    assert exchange.outcome.finish_reason == "stop"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.req("F-047")
async def test_interim_replies_are_bounded(line: Line, stream: bool) -> None:
    line.server.script(Fault(informational=10), Fault(informational=2000))
    if stream:
        assert (await line.stream())[1] is None
    else:
        await line.whole()
    assert "interim" in (await line.fails(stream=stream)).message


@pytest.mark.req("F-048")
async def test_proxies_of_the_environment_mean_nothing(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    await line.whole()


@pytest.mark.req("F-049")
async def test_a_reply_nobody_asked_for_answers_nobody(line: Line) -> None:
    pushed, dropped = asyncio.Event(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await request_of(reader)
        writer.write(reply(b"%d" % number))
        await writer.drain()
        if number == 1:
            await pushed.wait()
            writer.write(reply(b"poison"))
            with suppress(ConnectionError):
                await reader.read()
            dropped.set()
        await reader.read()

    async with raw_server(answer) as raw:
        assert content_of(await line.whole(upstream=raw.upstream)) == "1"
        assert line.client.idle == 1
        pushed.set()
        await asyncio.wait_for(dropped.wait(), 60)
        assert line.client.idle == 0
        assert content_of(await line.whole(upstream=raw.upstream)) == "2"


def content_of(value: dict[str, object]) -> str:
    return str(json.loads(json.dumps(value))["choices"][0]["message"]["content"])


@pytest.mark.req("F-037", "F-049")
async def test_more_than_was_announced_is_an_error(line: Line) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await request_of(reader)
        writer.write(reply(b"first") + reply(b"second"))
        await reader.read()

    async with raw_server(answer) as raw:
        assert "announced" in (await line.fails(upstream=raw.upstream)).message


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\ncontent-length: 2\n\n{}",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 200 " + b"x" * 200_000,
        b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",
    ],
)
async def test_what_is_not_http_is_refused(line: Line, head: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await request_of(reader)
        writer.write(head)
        await reader.read()

    async with raw_server(answer) as raw:
        for stream in (False, True):
            assert isinstance(await line.fails(upstream=raw.upstream, stream=stream), UpstreamError)
