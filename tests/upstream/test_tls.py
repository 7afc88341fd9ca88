"""https upstreams: certificates are verified, against the system's store or a file, whatever the environment says.

localhost.pem: a key and its self-signed certificate for localhost and 127.0.0.1, for tests only, valid until 2126.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from lanhaven.errors import ProviderUnavailable
from lanhaven.types.models import Upstream
from lanhaven.upstream.pool import Timers, UpstreamClient
from lanhaven.upstream.tls import tls_context
from tests.upstream.conftest import CHAT, raw_server, reply, request_of

pytestmark = pytest.mark.anyio
PEM = Path(__file__).with_name("localhost.pem")


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    return context


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
    while await request_of(reader):
        writer.write(reply(b"secret %d" % number))


async def ask(ca_file: Path | None, host: str) -> bytes:
    async with raw_server(answer, server_context()) as raw:
        client = UpstreamClient(Timers(), lambda: tls_context(ca_file))
        upstream = Upstream(model="m", base_url=f"https://{host}:{raw.port}")
        try:
            for _ in range(2):
                body = await (await client.send(upstream, CHAT, b"{}", stream=False)).body()
            assert client.open == 1
            return body
        finally:
            await client.aclose()
            assert client.open == 0


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_known_certificate(host: str) -> None:
    assert b"secret 1" in await ask(PEM, host)


async def test_an_unknown_certificate() -> None:
    with pytest.raises(ProviderUnavailable, match="certificate that cannot be verified"):
        await ask(None, "localhost")


async def test_a_certificate_for_another_name() -> None:
    with pytest.raises(ProviderUnavailable, match="certificate that cannot be verified"):
        await ask(PEM, "127.1")


@pytest.mark.req("F-048")
async def test_the_environment_adds_no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(PEM))
    monkeypatch.setenv("SSL_CERT_DIR", str(PEM.parent))
    with pytest.raises(ProviderUnavailable, match="certificate"):
        await ask(None, "localhost")


async def test_no_tls_at_all() -> None:
    async with raw_server(answer) as raw:
        client = UpstreamClient(Timers(connect=1))
        upstream = Upstream(model="m", base_url=f"https://127.0.0.1:{raw.port}")
        with pytest.raises(ProviderUnavailable):
            await client.send(upstream, CHAT, b"{}", stream=False)
        await client.aclose()
