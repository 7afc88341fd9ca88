"""HTTPS on real sockets: every promise of the listener holds, and who speaks no TLS is told."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from lanhaven.network.certificates import OwnCertificate
from lanhaven.server.limits import ListenerLimits
from lanhaven.server.listener import running
from lanhaven.server.shutdown import Shutdown
from tests.server.apps import BODY, LARGE, Recorder
from tests.server.raw import Raw, Reply, ask, connected, get, post

pytestmark = pytest.mark.anyio

QUICK = ListenerLimits(header_timeout=5.0, body_idle=5.0, body_total=5.0, keep_alive=5.0, write_stall=5.0, linger=0.2)
NAMES = ("localhost", "127.0.0.1")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> OwnCertificate:
    return OwnCertificate(tmp_path_factory.mktemp("tls"), "workshop", lambda: NAMES)


@pytest.fixture
def trusting(own: OwnCertificate) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=own.ca)


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """TLS is the event loop's own: both that a server may run on."""
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@asynccontextmanager
async def secured(url: str, trusting: ssl.SSLContext) -> AsyncIterator[Raw]:
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(
        where.hostname, where.port, ssl=trusting, server_hostname="localhost", limit=1 << 22
    )
    try:
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


async def ask_secured(url: str, trusting: ssl.SSLContext, data: bytes) -> Reply:
    async with secured(url, trusting) as raw:
        await raw.send(data)
        return await raw.reply()


async def test_a_request_and_what_the_application_is_told(own: OwnCertificate, trusting: ssl.SSLContext) -> None:
    app = Recorder()
    async with running(app, tls=own.context) as url:
        assert url.startswith("https://127.0.0.1:")
        async with secured(url, trusting) as raw:
            for _ in range(2):  # one connection
                await raw.send(post("/", b'{"a":1}'))
                assert (await raw.reply()).body == BODY
            chosen = raw.writer.get_extra_info("ssl_object")
            assert (chosen.version(), own.context().minimum_version) == ("TLSv1.3", ssl.TLSVersion.TLSv1_2)
    assert [scope["scheme"] for scope in app.scopes] == ["https", "https"]
    assert app.scopes[0]["client"][0] == "127.0.0.1"


async def close(raw: Raw) -> None:
    raw.writer.close()


async def abort(raw: Raw) -> None:
    await raw.leave()


@pytest.mark.req("F-081", "F-082")
@pytest.mark.parametrize("go", [close, abort])
@pytest.mark.parametrize(
    "data",
    [post("/upload", b"{}")[:-1], post("/wait"), get("/stream"), get("/endless")],
    ids=["within the body", "before the answer", "within the answer", "while writing"],
)
async def test_a_client_that_leaves_cancels_its_request(
    own: OwnCertificate,
    trusting: ssl.SSLContext,
    data: bytes,
    go: Callable[[Raw], Awaitable[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Recorder()
    path = data.split(b" ", 2)[1].decode()
    async with running(app, QUICK, tls=own.context) as url, secured(url, trusting) as raw:
        await raw.send(data)
        assert await app.next_event() == ("begun", path)
        if path in {"/stream", "/endless"}:
            await raw.reader.readuntil(b"\r\n\r\n")
        await go(raw)
        assert await app.next_event() == ("cancelled", path)
        assert (await ask_secured(url, trusting, get("/other"))).body == BODY
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_farewell_alone_counts_as_leaving(own: OwnCertificate, trusting: ssl.SSLContext) -> None:
    app = Recorder()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(incoming, outgoing, server_hostname="localhost")
    async with running(app, QUICK, tls=own.context) as url, connected(url) as raw:

        async def exchange(step: Callable[[], object]) -> None:
            while True:
                try:
                    step()
                except ssl.SSLWantReadError:
                    await raw.send(outgoing.read())
                    incoming.write(await raw.reader.read(1 << 16))
                else:
                    await raw.send(outgoing.read())
                    return

        await exchange(client.do_handshake)
        await exchange(lambda: client.write(post("/wait")))
        assert await app.next_event() == ("begun", "/wait")
        with pytest.raises(ssl.SSLWantReadError):
            client.unwrap()
        await raw.send(outgoing.read())  # close_notify, while the connection itself stays open
        assert await app.next_event() == ("cancelled", "/wait")


async def test_a_large_answer_to_a_slow_reader(own: OwnCertificate, trusting: ssl.SSLContext) -> None:
    async with running(Recorder(), QUICK, tls=own.context) as url:
        assert len((await ask_secured(url, trusting, get("/large"))).body) == LARGE


async def test_a_client_that_reads_nothing_is_let_go(own: OwnCertificate, trusting: ssl.SSLContext) -> None:
    app = Recorder()
    limits = replace(QUICK, write_stall=0.3)
    async with running(app, limits, tls=own.context) as url, secured(url, trusting) as raw:
        raw.writer.transport.pause_reading()
        await raw.send(get("/endless"))
        assert await app.next_event() == ("begun", "/endless")
        assert await app.next_event() == ("cancelled", "/endless")


@pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"], ids=["silence", "a byte", "half a hello"])
async def test_a_handshake_that_never_ends_is_cut(own: OwnCertificate, sent: bytes) -> None:
    limits = replace(QUICK, header_timeout=0.2)
    async with running(Recorder(), limits, tls=own.context) as url, connected(url) as raw:
        await raw.send(sent)
        await raw.ended()


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01" + b"\xff" * 500, b"\x00" * 100], ids=["no hello", "neither TLS nor HTTP"]
)
async def test_what_is_no_handshake_is_closed_quietly(
    own: OwnCertificate, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(Recorder(), QUICK, tls=own.context) as url, connected(url) as raw:
        await raw.send(sent)
        await raw.ended()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_plain_http_is_told_where_to_go(own: OwnCertificate) -> None:
    app = Recorder()
    async with running(app, QUICK, tls=own.context) as url:
        where = urlsplit(url).netloc
        program = await ask(url, post("/v1/chat/completions", b"{}", host=where))
        told = {"error": f"This server speaks HTTPS here: use https://{where}", "hint": "write https:// in the address"}
        assert (program.status, program.json) == (400, told)
        browser = await ask(url, get("/x?y=1", "Accept: text/html,*/*", host=where))
        assert (browser.status, browser.headers["location"]) == (307, f"https://{where}/x?y=1")
        assert (await ask(url, get("/", host='a"\\b'))).json == {
            "error": "The request needs exactly one valid Host header"
        }
        offer = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAA")
        assert (await ask(url, get("/llm", *offer, host=where))).status == 400
    assert app.scopes == []  # no application was asked


async def test_nobody_shakes_hands_who_may_not_come_in(own: OwnCertificate, trusting: ssl.SSLContext) -> None:
    asked: list[str] = []

    def nobody(address: str) -> bool:
        asked.append(address)
        return False

    async with running(Recorder(), QUICK, tls=own.context, admits=nobody) as url:
        with pytest.raises(OSError):
            await ask_secured(url, trusting, get())
    assert asked == ["127.0.0.1"]


async def test_handshakes_count_as_connections(own: OwnCertificate, trusting: ssl.SSLContext) -> None:
    limits = replace(QUICK, max_connections=2)
    async with running(Recorder(), limits, tls=own.context) as url, connected(url), connected(url):
        with pytest.raises(OSError):
            await ask_secured(url, trusting, get())


async def test_going_down_waits_for_an_answer_but_for_no_handshake(
    own: OwnCertificate, trusting: ssl.SSLContext
) -> None:
    app, shutdown = Recorder(), Shutdown()
    async with (
        running(app, QUICK, tls=own.context, shutdown=shutdown) as url,
        connected(url) as undecided,
        secured(url, trusting) as raw,
    ):
        await undecided.send(b"\x16")
        await raw.send(post("/wait"))
        assert await app.next_event() == ("begun", "/wait")
        app.free.set()
        assert (await raw.reply()).body == BODY
    async with asyncio.timeout(60):
        await undecided.ended()


async def test_the_next_connection_gets_the_renewed_certificate(tmp_path: Path) -> None:
    names: list[str] = ["localhost"]

    def current() -> Sequence[str]:
        return tuple(names)

    own = OwnCertificate(tmp_path, "workshop", current)
    trusting = ssl.create_default_context(cafile=own.ca)
    async with running(Recorder(), QUICK, tls=own.context) as url, secured(url, trusting) as old:
        names.append("192.168.7.9")
        own.refresh()
        async with secured(url, trusting) as new:
            shown = new.writer.get_extra_info("ssl_object").getpeercert()["subjectAltName"]
            assert shown == (("DNS", "localhost"), ("IP Address", "192.168.7.9"))
        await old.send(get())
        assert (await old.reply()).body == BODY
