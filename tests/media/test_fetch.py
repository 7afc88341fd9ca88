"""Images from addresses: listed hosts at admitted addresses, and nothing else of the network."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from lanhaven.errors import InvalidRequest
from lanhaven.media.fetch import UNREACHED, Fetcher
from lanhaven.server.images import admitted
from tests.media.pictures import picture

pytestmark = pytest.mark.anyio

IMAGE = picture()
CERTIFICATE = Path(__file__).parents[1] / "upstream/localhost.pem"


def reply(body: bytes = IMAGE, *headers: str, status: str = "200 OK", kind: str = "image/png") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", *headers]
    if not headers:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Server:
    """Answers every connection with the same bytes; keeps what it was asked. `endless`: it never stops."""

    def __init__(self, answer: bytes, *, endless: float | None = None) -> None:
        self.heads: list[bytes] = []
        self.connections = 0
        self.port = 0
        self._answer, self._endless = answer, endless

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self._answer)
            while self._endless is not None:
                await writer.drain()
                await asyncio.sleep(self._endless)
                writer.write(b"\0" * (1 if self._endless else 1 << 16))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/a.png?x=1"


@asynccontextmanager
async def listening(
    answer: bytes = reply(), *, endless: float | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    told = Server(answer, endless=endless)
    server = await asyncio.start_server(told, "127.0.0.1", 0, ssl=tls)
    told.port = server.sockets[0].getsockname()[1]
    async with server:
        yield told


class Names(AbstractResolver):
    """A name server that says for each name, one time after the other, what it was told to."""

    def __init__(self, **answers: Sequence[str]) -> None:
        self._answers = {name: list(addresses) for name, addresses in answers.items()}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        answers = self._answers.get(host.partition(".")[0])
        if not answers:
            raise OSError("no such name")
        address = answers.pop(0) if len(answers) > 1 else answers[0]
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=0)]

    async def close(self) -> None:
        pass


Make = Callable[..., Fetcher]


@pytest.fixture
async def fetcher() -> AsyncIterator[Make]:
    open_ones: list[Fetcher] = []

    def make(
        *hosts: str, inside: str = "127.0.0.1/32", most: int = 1 << 20, seconds: float = 5, **more: object
    ) -> Fetcher:
        networks = (inside,) if inside else ()
        made = Fetcher(hosts or ("*:*",), admitted(networks), most_bytes=most, seconds=seconds, **more)  # type: ignore[arg-type]
        open_ones.append(made)
        return made

    yield make
    for each in open_ones:
        await each.aclose()


async def refused(fetcher: Fetcher, url: str) -> str:
    with pytest.raises(InvalidRequest) as caught:
        await fetcher.get(url)
    assert caught.value.retry is False
    return caught.value.message


@pytest.mark.req("S4-26")
async def test_an_image_is_brought(fetcher: Make) -> None:
    async with listening() as server:
        assert await fetcher(f"127.0.0.1:{server.port}").get(server.url) == IMAGE
        head = server.heads[0].decode()
        assert head.startswith("GET /a.png?x=1 HTTP/1.1\r\n")
        assert f"Host: 127.0.0.1:{server.port}" in head
        assert "Accept-Encoding: identity" in head
        assert "cookie" not in head.lower()


async def test_hosts_are_listed(fetcher: Make) -> None:
    names = Names(images=["127.0.0.1"], a=["127.0.0.1"], nas=["127.0.0.1"])
    async with listening() as server:
        port = server.port
        listed = fetcher(f"images.example.com:{port}", f"*.example.org:{port}", "nas.lan", resolver=names)
        for host in ("images.example.com", "IMAGES.EXAMPLE.COM.", "a.example.org"):
            assert await listed.get(f"http://{host}:{port}/") == IMAGE
        before = server.connections
        for host in (
            "example.com",
            "ximages.example.com",
            "example.org",
            "127.0.0.1",
            "nas.lan",
            "a.example.org.evil.com",
        ):
            assert await refused(listed, f"http://{host}:{port}/") == UNREACHED
        assert server.connections == before


INSIDE = [
    "http://127.0.0.1:{}/", "http://localhost:{}/", "http://127.1:{}/", "http://2130706433:{}/", "http://0x7f000001:{}/",
    "http://0177.0.0.1:{}/", "http://0:{}/", "http://0.0.0.0:{}/", "http://[::1]:{}/", "http://[::ffff:127.0.0.1]:{}/",
    "http://[::ffff:7f00:1]:{}/", "http://[64:ff9b::7f00:1]:{}/", "http://[2002:7f00:1::]:{}/", "http://[::127.0.0.1]:{}/",
    "http://①②⑦.0.0.1:{}/", "http://127。0。0。1:{}/", "http://user@127.0.0.1:{}/", "http://example.com@127.0.0.1:{}/",
    "http://127.0.0.1:{}\\@example.com/", "http://loop.example:{}/", "http://10.0.0.1:{}/", "http://192.168.0.1:{}/",
    "http://169.254.169.254:{}/", "http://100.64.0.1:{}/", "http://[fe80::1%25lo]:{}/", "http://[fd00::1]:{}/",
    "file:///etc/passwd", "ftp://127.0.0.1:{}/", "gopher://127.0.0.1:{}/", "//127.0.0.1:{}/", "http:127.0.0.1:{}", "http://",
    "http://[", "http://a:99999/", "http://a\r\nHost: b/", "unix:/run/x.sock", "", "x" * 10_000, "http://" + "a" * 300,
]  # fmt: skip


@pytest.mark.req("F-162", "P18")
@pytest.mark.parametrize("url", INSIDE)
async def test_no_spelling_leads_inside(fetcher: Make, url: str) -> None:
    async with listening() as server:
        names = Names(loop=["127.0.0.1"])
        closed = fetcher(f"*:{server.port}", "*", inside="", resolver=names)
        assert await refused(closed, url.format(server.port)) == UNREACHED
        assert server.connections == 0


@pytest.mark.req("F-162")
async def test_localhost_by_the_systems_own_resolver(fetcher: Make) -> None:
    async with listening() as server:
        assert await refused(fetcher(f"*:{server.port}", inside=""), f"http://localhost:{server.port}/") == UNREACHED
        assert server.connections == 0


@pytest.mark.req("F-163")
async def test_a_name_that_changes_between_check_and_connection(fetcher: Make) -> None:
    """There is one look-up, and what it says is judged when the socket is made."""
    async with listening() as server:
        names = Names(rebound=["192.0.2.1", "127.0.0.1"])
        closed = fetcher(f"*:{server.port}", inside="192.0.2.0/24", seconds=0.2, resolver=names)
        for _ in range(3):
            assert await refused(closed, f"http://rebound.example:{server.port}/") == UNREACHED
        assert server.connections == 0


@pytest.mark.req("F-163")
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Again", "308 There"])
async def test_redirects_are_not_followed(fetcher: Make, status: str) -> None:
    async with listening() as inside:
        moved = reply(b"", f"Location: http://127.0.0.1:{inside.port}/", "Content-Length: 0", status=status)
        async with listening(moved) as server:
            told = await refused(fetcher(f"*:{server.port}", f"*:{inside.port}"), server.url)
            assert told == f"The image cannot be fetched: its server answers with status {status[:3]}."
        assert inside.connections == 0


@pytest.mark.req("F-164")
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (reply(kind="text/html"), "its server does not call it an image"),
        (reply(IMAGE, "Content-Encoding: gzip", f"Content-Length: {len(IMAGE)}"), "its server sends it compressed"),
        (reply(b"", "Content-Length: 0", status="304 Not Modified"), "its server answers with status 304"),
        (reply(b"", "Content-Length: 10000000000"), "it has more than 1048576 bytes"),
        (reply(bytes((1 << 20) + 1), "Connection: close"), "it has more than 1048576 bytes"),
    ],
)
async def test_what_is_not_taken(fetcher: Make, answer: bytes, why: str) -> None:
    async with listening(answer) as server:
        assert await refused(fetcher(f"*:{server.port}"), server.url) == f"The image cannot be fetched: {why}."


@pytest.mark.req("F-164")
async def test_an_image_without_a_length_is_one(fetcher: Make) -> None:
    async with listening(reply(IMAGE, "Connection: close")) as server:
        assert await fetcher(f"*:{server.port}").get(server.url) == IMAGE


@pytest.mark.req("F-164")
@pytest.mark.parametrize("endless", [0.05, 0.0])
async def test_an_image_that_never_ends(fetcher: Make, endless: float) -> None:
    async with listening(reply(IMAGE, "Connection: close"), endless=endless) as server:
        told = await refused(fetcher(f"*:{server.port}", seconds=0.5), server.url)
        assert told in (UNREACHED, "The image cannot be fetched: it has more than 1048576 bytes.")


@pytest.mark.req("F-164")
@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nContent-Type: image/png\r\n\r\nx"]
)
async def test_servers_that_are_none(fetcher: Make, answer: bytes) -> None:
    async with listening(answer) as server:
        assert await refused(fetcher(f"*:{server.port}"), server.url) == UNREACHED


async def test_certificates_are_checked_against_the_name(fetcher: Make) -> None:
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(CERTIFICATE)
    trusting = ssl.create_default_context(cafile=str(CERTIFICATE))
    names = Names(localhost=["127.0.0.1"], other=["127.0.0.1"])
    async with listening(tls=ours) as server:
        known = fetcher(f"*:{server.port}", resolver=names, tls=trusting)
        assert await known.get(f"https://localhost:{server.port}/") == IMAGE
        assert f"Host: localhost:{server.port}".encode() in server.heads[0]
        assert await refused(known, f"https://other.example:{server.port}/") == UNREACHED
        assert (
            await refused(fetcher(f"*:{server.port}", resolver=names), f"https://localhost:{server.port}/") == UNREACHED
        )


def test_addresses_that_are_admitted() -> None:
    public = admitted(())
    assert public("93.184.216.34")
    assert public("2606:2800:220:1:248:1893:25c8:1946")
    assert not any(map(public, ("127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "64:ff9b::a00:1", "224.0.0.1", "x")))
    wider = admitted(("192.168.0.0/24", "fd00::/8"))
    assert wider("192.168.0.5")
    assert wider("::ffff:192.168.0.5")
    assert wider("fd00::5")
    assert not wider("192.168.1.5")
