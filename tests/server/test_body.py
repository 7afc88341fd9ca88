"""Reading a body: bounded, and inflated only where that is asked for, within bounds."""

from __future__ import annotations

import tracemalloc
from collections.abc import Awaitable, Callable

import pytest
import zstandard

from lanhaven.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from lanhaven.server.body import inflate, read_body
from lanhaven.server.limits import ListenerLimits
from lanhaven.server.listener import running
from tests.server.raw import connected, get

pytestmark = pytest.mark.anyio

QUICK = ListenerLimits(linger=0.2)


@pytest.mark.req("F-088")
@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "in chunks"])
async def test_a_body_over_the_limit_is_refused_at_the_limit(chunked: bool) -> None:
    refused: list[int] = []

    async def app(scope: dict[str, object], receive: object, send: Callable[[object], Awaitable[None]]) -> None:
        try:
            await read_body(scope, receive, 100_000)  # type: ignore[arg-type]
        except PayloadTooLarge as error:
            refused.append(error.status)
        await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async with running(app, QUICK) as url, connected(url) as raw:
        if chunked:
            await raw.send(get("/", "Transfer-Encoding: chunked", method="POST") + b"20000\r\n" + b"x" * 0x20000)
        else:
            await raw.send(get("/", "Content-Length: 1000000000000000000", method="POST"))
        reply = await raw.reply()
    assert (reply.status, reply.headers["connection"], refused) == (413, "close", [413])


@pytest.mark.req("F-088", "F-111")
async def test_read_body_in_pieces_and_encodings() -> None:
    def pieces(*parts: bytes) -> Callable[[], Awaitable[dict[str, object]]]:
        left = list(parts)

        async def receive() -> dict[str, object]:
            part = left.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(left)}

        return receive

    async def gone() -> dict[str, object]:
        return {"type": "http.disconnect"}

    plain: dict[str, object] = {"headers": [(b"content-encoding", b"identity")]}
    assert await read_body(plain, pieces(b"ab", b"", b"cd"), 4) == b"abcd"
    with pytest.raises(PayloadTooLarge):
        await read_body(plain, pieces(b"ab", b"cde", b"never read"), 4)
    with pytest.raises(PayloadTooLarge):
        await read_body(plain, pieces(b"abcde"), 4)
    with pytest.raises(UnsupportedMediaType):
        await read_body({"headers": [(b"content-encoding", b"gzip")]}, pieces(b""), 4)
    with pytest.raises(ConnectionResetError):
        await read_body(plain, gone, 4)


@pytest.mark.req("F-111")
async def test_zstd_where_it_is_taken_is_inflated_within_bounds() -> None:
    def body(data: bytes) -> Callable[[], Awaitable[dict[str, object]]]:
        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": data, "more_body": False}

        return receive

    zstd: dict[str, object] = {"headers": [(b"content-encoding", b"zstd")]}
    packed = zstandard.compress(b"x" * 1000)
    assert await read_body(zstd, body(packed), 2000, zstd=1000) == b"x" * 1000
    for limit, inflated in ((2000, 999), (999, 2000)):
        with pytest.raises(PayloadTooLarge):
            await read_body(zstd, body(packed), limit, zstd=inflated)
    with pytest.raises(InvalidRequest):
        await read_body(zstd, body(b"not zstd"), 2000, zstd=1000)
    with pytest.raises(UnsupportedMediaType):
        await read_body(zstd, body(packed), 2000)
    with pytest.raises(UnsupportedMediaType):
        await read_body({"headers": [(b"content-encoding", b"gzip")]}, body(b""), 2000, zstd=1000)


@pytest.mark.req("F-111")
def test_a_bomb_is_never_inflated() -> None:
    bomb = zstandard.compress(bytes(512 << 20))
    assert len(bomb) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(PayloadTooLarge):
            inflate(bomb, 1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    wide = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    ).compressobj()
    with pytest.raises(InvalidRequest):
        inflate(wide.compress(b"x") + wide.flush(), 100)
