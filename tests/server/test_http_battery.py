"""What HTTP forbids, sent by hand to the real listener: refused, the connection closed, nothing smuggled."""

from __future__ import annotations

import pytest

from lanhaven.server.listener import running
from tests.server.apps import BODY, Recorder
from tests.server.raw import Raw, connected, get, post

pytestmark = pytest.mark.anyio

POST = b"POST /x HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

FRAMING = {
    "length and chunked": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "the same length twice": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "length list": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "length with sign": POST + b"Content-Length: +2\r\n\r\n{}",
    "negative length": POST + b"Content-Length: -2\r\n\r\n{}",
    "hexadecimal length": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "empty length": POST + b"Content-Length: \r\n\r\n{}",
    "length of 10^30": POST + b"Content-Length: 1" + b"0" * 30 + b"\r\n\r\n{}",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, chunked": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked, gzip": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"POST /x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}
LINES = {
    "folded line": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n",
    "fold before the first header": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: a\n\n",
    "one bare line feed": b"GET / HTTP/1.1\r\nHost: a\nX-A: b\r\n\r\n",
    "bare carriage return": b"GET / HTTP/1.1\r\nHost: a\rX-A: b\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: a\0b\r\n\r\n",
    "control character in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: a\x01b\r\n\r\n",
    "no name": b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: a\r\nabc\r\n\r\n",
    "bracket in a name": b"GET / HTTP/1.1\r\nHost: a\r\na(b: c\r\n\r\n",
    "non-ASCII name": "GET / HTTP/1.1\r\nHost: a\r\nä: c\r\n\r\n".encode(),
    "space in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "control character in the target": b"GET /a\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
    "non-ASCII target": b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "fragment in the target": b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute form": b"GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n",
    "asterisk form": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "two bytes of a version": b"GET / HTTP/11.1\r\nHost: a\r\n\r\n",
    "version in lower case": b"GET / http/1.1\r\nHost: a\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}
HOSTS = {
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "no host in HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "the same host twice": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "empty host": b"GET / HTTP/1.1\r\nHost: \r\n\r\n",
    "host list": b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "user in host": b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "path in host": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "port no number": b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
    "open bracket": b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
}
CHUNKS = {
    "no hexadecimal": CHUNKED + b"xyz\r\n",
    "prefix 0x": CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n",
    "negative": CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",
    "leading space": CHUNKED + b" 2\r\n{}\r\n0\r\n\r\n",
    "trailing space": CHUNKED + b"2 \r\n{}\r\n0\r\n\r\n",
    "bare line feeds": CHUNKED + b"2\n{}\n0\n\n",
    "line feed in an extension": CHUNKED + b"2;a\n{}\r\n0\r\n\r\n",
    "longer than said": CHUNKED + b"2\r\n{}{}\r\n0\r\n\r\n",
    "of 2^64 bytes": CHUNKED + b"10000000000000000\r\n{}",
    "of 2^72 bytes": CHUNKED + b"1000000000000000000\r\n{}",
    "malformed trailer": CHUNKED + b"2\r\n{}\r\n0\r\nno trailer\r\n\r\n",
    "length in a trailer": CHUNKED + b"2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n",
}
STATUS = {
    "TRACE": (405, b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "CONNECT": (405, b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
    "PROPFIND": (501, b"PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "FOO": (400, b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "method in lower case": (400, b"get / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "TLS hello": (400, bytes.fromhex("16030100a5010000a10303") + bytes(32)),
    "HTTP/0.9": (505, b"GET /\r\n\r\n"),
    "HTTP/3.0": (400, b"GET / HTTP/3.0\r\nHost: a\r\n\r\n"),
    "target of 9 KiB": (414, get("/" + "a" * 9216)),
    "101 headers": (431, get("/", *[f"X-{n}: a" for n in range(100)])),
    "one header of 70 KiB": (431, get("/", "X-A: " + "a" * 71680)),
    "a head of 70 KiB": (431, get("/", *[f"X-{n}: {'a' * 1024}" for n in range(70)])),
}


async def refused(raw: Raw, app: Recorder, *, statuses: set[int]) -> None:
    """One error reply in JSON, then the end; the application saw nothing that came behind."""
    reply = await raw.reply()
    assert reply.status in statuses
    assert set(reply.json) == {"error"}
    assert reply.headers["connection"] == "close"
    assert reply.headers["x-request-id"].startswith("req_")
    assert reply.headers["cache-control"] == "no-store"
    assert await raw.ended() == b""
    assert [scope["path"] for scope in app.scopes if scope["path"] != "/x"] == []


@pytest.mark.req("F-101", "F-102", "F-104")
@pytest.mark.parametrize("data", [*FRAMING.values(), *LINES.values(), *HOSTS.values()], ids=[*FRAMING, *LINES, *HOSTS])
async def test_what_could_be_read_in_two_ways_is_refused(data: bytes) -> None:
    app = Recorder()
    async with running(app) as url, connected(url) as raw:
        await raw.send(data + SMUGGLED)
        await refused(raw, app, statuses={400})


@pytest.mark.req("F-103")
@pytest.mark.parametrize("data", CHUNKS.values(), ids=CHUNKS)
async def test_malformed_chunks_end_the_request(data: bytes) -> None:
    app = Recorder()
    async with running(app) as url, connected(url) as raw:
        await raw.send(CHUNKED)
        assert await app.next_event() == ("begun", "/x")
        await raw.send(data.removeprefix(CHUNKED) + SMUGGLED)
        await refused(raw, app, statuses={400})
        assert await app.next_event() == ("cancelled", "/x")


@pytest.mark.req("F-103")
async def test_a_request_that_is_malformed_from_the_start_reaches_no_handler() -> None:
    app = Recorder()
    async with running(app) as url, connected(url) as raw:
        await raw.send(CHUNKED + b"xyz\r\n" + SMUGGLED)
        await refused(raw, app, statuses={400})
        assert app.scopes == []


@pytest.mark.req("F-106", "F-107")
@pytest.mark.parametrize(("status", "data"), STATUS.values(), ids=STATUS)
async def test_what_is_not_served_gets_its_status(status: int, data: bytes) -> None:
    app = Recorder()
    async with running(app) as url, connected(url) as raw:
        await raw.send(data)
        await refused(raw, app, statuses={status})


@pytest.mark.req("F-106")
async def test_a_header_that_never_ends_is_cut_off() -> None:
    app = Recorder()
    async with running(app) as url, connected(url) as raw:
        await raw.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: ")
        for _ in range(5):
            await raw.send(b"a" * 16384)
        await refused(raw, app, statuses={431})


async def test_heads_up_to_the_limits_are_served() -> None:
    app = Recorder()
    async with running(app) as url, connected(url) as raw:
        for data in (
            get("/" + "a" * 8000),
            get("/", *[f"X-{n}: a" for n in range(99)]),
            get("/", "X-A: " + "a" * 60000),
        ):
            await raw.send(data)
            assert (await raw.reply()).body == BODY


@pytest.mark.req("F-103")
async def test_extensions_and_trailers_in_good_form_are_read_and_dropped() -> None:
    app = Recorder()
    async with running(app) as url, connected(url) as raw:
        await raw.send(CHUNKED + b"2;a=b\r\n{}\r\n0\r\nX-API-Key: smuggled\r\nHost: b\r\n\r\n" + get("/next"))
        assert (await raw.reply()).status == 200
        assert (await raw.reply()).status == 200
        assert app.bodies == [b"{}", b""]
        assert (b"x-api-key", b"smuggled") not in app.scopes[0]["headers"]


@pytest.mark.req("F-107")
@pytest.mark.parametrize(
    "data",
    [
        get("/offer", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
        post("/offer", b"{}", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
        get("/offer", "Connection: Upgrade", "Upgrade: h2c", "Transfer-Encoding: chunked", method="POST")
        + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        get("/offer", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    ],
    ids=["GET", "POST", "POST in chunks", "websocket"],
)
async def test_an_upgrade_offer_is_answered_in_http_1(data: bytes) -> None:
    app = Recorder()
    async with running(app) as url, connected(url) as raw:
        for half in (data[: len(data) - 1], data[len(data) - 1 :], get("/next")):
            await raw.send(half)
        assert (await raw.reply()).status == 200
        assert (await raw.reply()).status == 200
        assert [scope["path"] for scope in app.scopes] == ["/offer", "/next"]
        assert app.bodies == [b"" if data.startswith(b"GET") else b"{}", b""]


@pytest.mark.req("F-107")
async def test_an_upgrade_offer_does_not_hide_a_malformed_next_request() -> None:
    app = Recorder()
    async with running(app) as url, connected(url) as raw:
        offer = post("/x", b"{}", "Connection: Upgrade", "Upgrade: h2c")
        await raw.send(offer + b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert (await raw.reply()).status == 200
        await refused(raw, app, statuses={400})


@pytest.mark.req("F-114")
async def test_headers_that_claim_another_request_change_nothing() -> None:
    app = Recorder()
    claims = (
        "X-HTTP-Method-Override: DELETE",
        "X-Original-URL: /admin",
        "X-Rewrite-URL: /admin",
        "Forwarded: for=10.0.0.1",
    )
    async with running(app) as url, connected(url) as raw:
        await raw.send(get("/plain", *claims, "Connection: X-API-Key"))
        assert (await raw.reply()).status == 200
    assert (app.scopes[0]["method"], app.scopes[0]["path"]) == ("GET", "/plain")
    assert app.scopes[0]["client"][0] == "127.0.0.1"


@pytest.mark.req("F-090")
async def test_pipelined_requests_are_answered_in_order() -> None:
    app = Recorder()
    async with running(app) as url, connected(url) as raw:
        await raw.send(b"".join(post(f"/{n}", b"%d" % n) for n in range(20)))
        for _ in range(20):
            assert (await raw.reply()).body == BODY
    assert app.bodies == [b"%d" % n for n in range(20)]


@pytest.mark.req("F-090")
async def test_too_many_pipelined_requests_end_the_connection_in_order() -> None:
    app = Recorder()
    async with running(app) as url, connected(url) as raw:
        await raw.send(get("/wait") + b"".join(get(f"/{n}") for n in range(999)))
        await app.next_event()
        app.free.set()
        everything = await raw.ended()
    answers = everything.split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200"] * (len(answers) - 1) + [b"503"]
    assert [scope["path"] for scope in app.scopes] == ["/wait", *(f"/{n}" for n in range(len(answers) - 2))]
    assert len(answers) < 100


@pytest.mark.req("F-101", "F-090")
async def test_a_malformed_request_behind_a_good_one_waits_for_its_turn() -> None:
    app = Recorder()
    async with running(app) as url, connected(url) as raw:
        await raw.send(get("/wait") + b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + SMUGGLED)
        assert await app.next_event() == ("begun", "/wait")
        app.free.set()
        assert (await raw.reply()).status == 200
        assert (await raw.reply()).status == 400
        assert await raw.ended() == b""
    assert [scope["path"] for scope in app.scopes] == ["/wait"]


@pytest.mark.req("F-103", "F-090")
async def test_a_queued_request_with_a_malformed_body_is_never_begun() -> None:
    app = Recorder()
    async with running(app) as url, connected(url) as raw:
        await raw.send(get("/wait") + get("/second") + CHUNKED + b"xyz\r\n")
        assert await app.next_event() == ("begun", "/wait")
        app.free.set()
        assert [(await raw.reply()).status for _ in range(3)] == [200, 200, 400]
        assert await raw.ended() == b""
    assert [scope["path"] for scope in app.scopes] == ["/wait", "/second"]


@pytest.mark.req("F-101")
async def test_nothing_is_read_behind_a_request_that_closes() -> None:
    app = Recorder()
    async with running(app) as url, connected(url) as raw:
        await raw.send(get("/last", "Connection: close") + SMUGGLED)
        assert (await raw.reply()).status == 200
        assert await raw.ended() == b""
    assert [scope["path"] for scope in app.scopes] == ["/last"]
