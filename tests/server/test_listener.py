"""The listener on real sockets: what ends a request, what a slow or silent client may do, and where it listens."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from lanhaven.server.limits import ListenerLimits
from lanhaven.server.listener import Listener, running
from lanhaven.server.shutdown import Shutdown
from lanhaven.server.sockets import Address
from tests.server.apps import BODY, LARGE, Recorder
from tests.server.raw import Raw, ask, connected, get, post

pytestmark = pytest.mark.anyio

# Every timer short; the one under test is shorter still.
QUICK = ListenerLimits(header_timeout=5.0, body_idle=5.0, body_total=5.0, keep_alive=5.0, write_stall=5.0, linger=0.2)


async def abort(raw: Raw) -> None:
    await raw.leave()


async def reset(raw: Raw) -> None:
    raw.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await raw.leave()


async def half_close(raw: Raw) -> None:
    raw.half_close()


WAYS_TO_GO = {"close": abort, "reset": reset, "half-close": half_close}


# ---- the client leaves


@pytest.mark.req("F-081", "F-082")
@pytest.mark.parametrize("go", WAYS_TO_GO.values(), ids=WAYS_TO_GO)
@pytest.mark.parametrize(
    ("data", "answered"),
    [
        (post("/upload", b"{}")[:-1], False),
        (post("/wait"), False),
        (get("/silent"), True),
        (get("/stream"), True),
        (get("/endless"), True),
    ],
    ids=["within the body", "before the head of the answer", "after the head", "within the answer", "while writing"],
)
async def test_a_client_that_leaves_cancels_its_request(
    data: bytes, answered: bool, go: Callable[[Raw], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    app = Recorder()
    path = data.split(b" ", 2)[1].decode()
    async with running(app, QUICK) as url, connected(url) as raw:
        await raw.send(data)
        assert await app.next_event() == ("begun", path)
        if answered:
            await raw.reader.readuntil(b"\r\n\r\n")
        await go(raw)
        assert await app.next_event() == ("cancelled", path)
        assert (await ask(url, get("/other"))).body == BODY
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.req("F-081")
async def test_a_request_whose_answer_is_complete_is_not_cancelled() -> None:
    app = Recorder()
    async with running(app) as url, connected(url) as raw:
        await raw.send(get("/after"))
        assert (await raw.reply()).body == BODY
        await raw.leave()
        assert (await ask(url, get("/other"))).body == BODY  # the server has seen the other one leave
        app.free.set()
        seen = {await app.next_event() for _ in range(4)}
    assert seen == {("begun", "/after"), ("begun", "/other"), ("done", "/other"), ("done", "/after")}


@pytest.mark.req("F-081", "F-090")
async def test_leaving_drops_the_requests_that_wait_behind_the_running_one() -> None:
    app = Recorder()
    async with running(app) as url, connected(url) as raw:
        await raw.send(get("/wait") + get("/second") + get("/third"))
        await app.next_event()
        await raw.leave()
        assert await app.next_event() == ("cancelled", "/wait")
        await ask(url, get("/other"))
    assert [scope["path"] for scope in app.scopes] == ["/wait", "/other"]


@pytest.mark.req("F-081")
async def test_clean_up_of_a_cancelled_request_may_take_its_time() -> None:
    cleaned = asyncio.Event()
    begun = asyncio.Event()

    async def app(scope: object, receive: object, send: object) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            cleaned.set()

    async with running(app) as url, connected(url) as raw:
        await raw.send(get())
        await begun.wait()
        raw.half_close()
        await raw.ended()
        await raw.leave()
        async with asyncio.timeout(60):
            await cleaned.wait()


@pytest.mark.req("F-091")
async def test_aborted_streams_leave_nothing_behind() -> None:
    app = Recorder()
    listener = Listener(app, QUICK, Shutdown(), lambda address: True)
    (address,) = await listener.start([Address("127.0.0.1", 0)])
    for _ in range(100):
        async with connected(address.url) as raw:
            await raw.send(get("/stream"))
            assert await app.next_event() == ("begun", "/stream")
        assert await app.next_event() == ("cancelled", "/stream")
    async with asyncio.timeout(60):
        while repr(listener) != "Listener(0 connections, 0 requests, Shutdown(serving))":  # noqa: ASYNC110 - it does get there
            await asyncio.sleep(0)
    await listener.stop()


# ---- what the application does wrong


@pytest.mark.req("F-185")
@pytest.mark.parametrize("path", ["/boom", "/mute", "/inner-cancel", "/injection"])
async def test_a_defect_is_a_500_without_its_inside(path: str, caplog: pytest.LogCaptureFixture) -> None:
    async with running(Recorder()) as url, connected(url) as raw:
        await raw.send(get(path))
        reply = await raw.reply()
        assert (reply.status, reply.json) == (500, {"error": "Internal server error"})
        assert reply.headers["x-request-id"] in caplog.text
        await raw.send(get("/next"))
        assert (await raw.reply()).body == BODY


@pytest.mark.req("F-185")
async def test_a_defect_within_the_answer_cuts_it() -> None:
    async with running(Recorder()) as url, connected(url) as raw:
        await raw.send(get("/half"))
        rest = await raw.ended()
    assert b"content-length: 100" in rest
    assert rest.endswith(b"\r\n\r\nhalf")


# ---- slow and silent clients


@pytest.mark.req("F-086")
async def test_a_silent_connection_is_closed_without_a_word() -> None:
    async with running(Recorder(), replace(QUICK, header_timeout=0.1)) as url, connected(url) as raw:
        assert await raw.ended() == b""


@pytest.mark.req("F-086")
async def test_a_head_that_drips_is_cut_off_in_time() -> None:
    app = Recorder()
    async with running(app, replace(QUICK, header_timeout=0.3)) as url, connected(url) as raw:
        await raw.send(b"GET / HTTP/1.1\r\nHost: a\r\n")

        async def drip() -> None:
            while True:
                await raw.send(b"X-A: b\r\n")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        reply = await raw.reply()
        dripping.cancel()
    assert (reply.status, reply.headers["connection"]) == (408, "close")
    assert app.scopes == []


@pytest.mark.req("F-086")
async def test_the_head_timer_holds_for_later_requests_too() -> None:
    async with running(Recorder(), replace(QUICK, header_timeout=0.2)) as url, connected(url) as raw:
        for _ in range(2):
            await raw.send(get())
            assert (await raw.reply()).status == 200
        await raw.send(b"GET / HT")
        assert (await raw.reply()).status == 408
        assert await raw.ended() == b""


@pytest.mark.req("F-086")
async def test_a_body_that_stops_is_a_408() -> None:
    app = Recorder()
    async with running(app, replace(QUICK, body_idle=0.2)) as url, connected(url) as raw:
        await raw.send(post("/upload", b"{}")[:-1])
        reply = await raw.reply()
        assert (reply.status, reply.headers["connection"]) == (408, "close")
        assert await app.next_event() == ("begun", "/upload")
        assert await app.next_event() == ("cancelled", "/upload")


@pytest.mark.req("F-086")
async def test_a_body_that_drips_is_cut_off_in_the_end() -> None:
    limits = replace(QUICK, body_idle=0.5, body_total=0.8)
    async with running(Recorder(), limits) as url, connected(url) as raw:
        await raw.send(post("/upload", b"x" * 1000)[:-900])

        async def drip() -> None:
            while True:
                await raw.send(b"x")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        reply = await raw.reply()
        dripping.cancel()
    assert reply.status == 408


async def test_a_body_that_the_application_is_slow_to_take_is_not_the_clients_fault() -> None:
    go_on = asyncio.Event()
    waiting = asyncio.Event()

    async def app(scope: object, receive: Callable[[], Awaitable[dict[str, object]]], send: object) -> None:
        waiting.set()
        await go_on.wait()
        body = b""
        while True:
            message = await receive()
            body += message["body"]  # type: ignore[operator]
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]

    async with running(app, replace(QUICK, body_idle=0.5, body_total=0.5)) as url, connected(url) as raw:
        sending = asyncio.create_task(raw.send(post("/", b"x" * (8 << 20))))
        await waiting.wait()
        await asyncio.sleep(1.2)  # more than two of each timer
        go_on.set()
        assert (await raw.reply()).status == 200
        await sending


@pytest.mark.req("F-083")
async def test_a_client_that_stops_reading_is_cut_and_its_request_cancelled() -> None:
    app = Recorder()
    async with running(app, replace(QUICK, write_stall=0.3)) as url, connected(url) as raw:
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await raw.send(get("/endless"))
        assert await app.next_event() == ("begun", "/endless")
        assert await app.next_event() == ("cancelled", "/endless")
        assert app.sent < 32 << 20  # what the kernel's buffers took: the application waited for the rest


@pytest.mark.req("F-083")
async def test_a_client_that_reads_slowly_is_served() -> None:
    app = Recorder()
    async with running(app, replace(QUICK, write_stall=0.5)) as url:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)  # so that each read is felt at the other end
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", int(url.rpartition(":")[2])))
        await loop.sock_sendall(sock, get("/large"))
        received = 0
        for _ in range(40):  # four times the stall time, and far from the end of what was written
            received += len(await loop.sock_recv(sock, 65536))
            await asyncio.sleep(0.05)
        assert received < LARGE // 2
        while received < LARGE:
            piece = await loop.sock_recv(sock, 1 << 20)
            assert piece, "cut"
            received += len(piece)
        sock.close()


async def test_an_idle_connection_is_closed_after_its_time_and_not_before() -> None:
    async with running(Recorder(), replace(QUICK, keep_alive=1.5)) as url, connected(url) as raw:
        for _ in range(4):
            await raw.send(get())
            assert (await raw.reply()).status == 200
            await asyncio.sleep(0.5)
        assert await raw.ended() == b""


# ---- answers before the end of the request


@pytest.mark.req("F-089", "F-147")
async def test_an_early_answer_closes_a_connection_whose_body_is_pending() -> None:
    async with running(Recorder(), QUICK) as url, connected(url) as raw:
        await raw.send(get("/early", "Content-Length: 100000000", method="POST"))
        reply = await raw.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        with pytest.raises(ConnectionError):
            await raw.send(b"x" * 100_000_000)  # not read beyond what a moment of politeness takes


@pytest.mark.req("F-109")
async def test_100_continue_is_sent_when_the_application_asks_for_the_body_and_not_before() -> None:
    async with running(Recorder(), QUICK) as url:
        for path, wanted in (("/early", b"HTTP/1.1 200"), ("/upload", b"HTTP/1.1 100")):
            async with connected(url) as raw:
                await raw.send(get(path, "Expect: 100-continue", "Content-Length: 2", method="POST"))
                assert (await raw.reader.readuntil(b"\r\n")).startswith(wanted)


# ---- connections


async def test_a_head_request_has_the_length_and_no_body() -> None:
    async with running(Recorder()) as url, connected(url) as raw:
        await raw.send(get("/", method="HEAD") + get("/next"))
        assert (await raw.reply(head=True)).headers["content-length"] == str(len(BODY))
        assert (await raw.reply()).body == BODY


async def test_http_1_0_is_answered_and_closed() -> None:
    async with running(Recorder()) as url, connected(url) as raw:
        await raw.send(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        reply = await raw.reply()
        assert (reply.body, reply.headers["connection"]) == (BODY, "close")
        assert await raw.ended() == b""


async def test_a_stream_to_http_1_0_has_no_chunks_and_ends_with_the_connection() -> None:
    app = Recorder()
    async with running(app) as url, connected(url) as raw:
        await raw.send(b"GET /stream HTTP/1.0\r\nHost: a\r\n\r\n")
        reply = await raw.reply()  # RFC 9112, 6.1: never a Transfer-Encoding to who does not know it
        assert "transfer-encoding" not in reply.headers
        assert reply.headers["connection"] == "close"
        app.free.set()
        assert await raw.ended() == b"firstlast"


async def test_every_answer_has_a_date_and_no_server_name() -> None:
    async with running(Recorder()) as url:
        headers = (await ask(url, get())).headers
    assert headers["date"].endswith(" GMT")
    assert "server" not in headers


@pytest.mark.req("F-147")
async def test_an_address_that_is_not_admitted_is_told_so_before_it_asks() -> None:
    app = Recorder()
    async with running(app, QUICK, admits=lambda address: address != "127.0.0.1") as url, connected(url) as raw:
        reply = await raw.reply()
        assert (reply.status, reply.json, reply.headers["connection"]) == (403, {"error": "Forbidden"}, "close")
        assert await raw.ended() == b""
    assert app.scopes == []


@pytest.mark.req("F-087")
async def test_connections_over_the_limit_are_turned_away() -> None:
    app = Recorder()
    async with running(app, replace(QUICK, max_connections=2)) as url:
        async with connected(url) as first, connected(url) as second:
            for raw in (first, second):
                await raw.send(get())
                assert (await raw.reply()).status == 200
            async with connected(url) as third:
                reply = await third.reply()
                assert (reply.status, reply.headers["retry-after"]) == (503, "1")
            await first.send(get())
            assert (await first.reply()).status == 200
            await first.leave()
        async with asyncio.timeout(60):
            while (await ask(url, get())).status != 200:  # noqa: ASYNC110 - the server has yet to see it leave
                await asyncio.sleep(0.01)
