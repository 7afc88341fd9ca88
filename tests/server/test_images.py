"""Images on the way of a request: fetched where that is allowed, given up when nobody waits, never sent on as addresses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lanhaven.events import Failure
from lanhaven.gateway import SHUTDOWN
from lanhaven.providers.base import ModelEntry, ProviderContext
from lanhaven.providers.registry import create
from tests.media.pictures import asking, data_uri, opened, picture
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

MODELS = "{default_model: eyes, models: [{id: eyes, provider: mock, enabled: true, config: {kind: vlm}}]}"
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: image/webp\r\nContent-Length: %d\r\n\r\n"


@asynccontextmanager
async def served(home: Path, *, answers: bool) -> AsyncIterator[tuple[House, str, asyncio.Event]]:
    """A house that may fetch from one server; that server's address; set when somebody has asked it."""
    asked, over = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        if answers:
            data = picture("WEBP")
            writer.write(REPLY % len(data) + data)
        else:
            await over.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings: dict[str, Any] = {"image_hosts": [f"127.0.0.1:{port}"], "image_networks": ["127.0.0.1"]}
    async with server, serving(home, MODELS, **settings) as house:
        try:
            yield house, f"http://127.0.0.1:{port}/a.webp", asked
        finally:
            over.set()


async def ask(house: House, source: str, **fields: Any) -> httpx2.Response:
    return await house.http.post("/v1/chat/completions", json={"messages": asking(source), **fields})


@pytest.mark.req("S4-26", "F-161")
async def test_the_model_gets_the_image_and_never_its_address(tmp_path: Path) -> None:
    async with served(tmp_path, answers=True) as (house, url, _):
        reply = await ask(house, url)
        assert reply.status_code == 200, reply.text
        source = house.sent["messages"][0]["content"][0]["image_url"]["url"]
        assert opened(source).format == "JPEG"
        block = {"type": "image", "source": {"type": "url", "url": url}}
        said = {"model": "eyes", "max_tokens": 5, "messages": [{"role": "user", "content": [block]}]}
        assert (await house.http.post("/v1/messages", json=said)).status_code == 200
        assert house.sent["messages"][0]["content"][0]["image_url"]["url"] == source
        refused = await ask(house, url.replace("127.0.0.1", "localhost"))
        assert refused.status_code == 400
        assert "cannot be fetched from that address" in refused.json()["error"]["message"]


async def test_a_server_that_goes_down_waits_for_no_image(tmp_path: Path) -> None:
    async with served(tmp_path, answers=False) as (house, url, asked):
        asking_ = asyncio.ensure_future(ask(house, url))
        await asked.wait()
        house.services.gateway.abort_all(SHUTDOWN)
        assert (await asking_).status_code == 503
        assert house.services.pool.ids() == {}


async def test_a_client_that_leaves_is_fetched_nothing(tmp_path: Path) -> None:
    async with served(tmp_path, answers=False) as (house, url, asked):
        asking_ = asyncio.ensure_future(ask(house, url, stream=True))
        await asked.wait()
        asking_.cancel()
        await house.until(lambda: house.named(Failure))
        (failure,) = house.named(Failure)
        assert (failure.status, failure.cancelled) == (499, True)


async def test_an_image_that_is_there_already_costs_no_address(tmp_path: Path) -> None:
    async with served(tmp_path, answers=True) as (house, _, asked):
        assert (await ask(house, data_uri(picture()))).status_code == 200
        assert not asked.is_set()


@pytest.mark.req("S4-26")
@pytest.mark.parametrize(
    ("config", "blind"),
    [({}, False), ({"kind": "vlm"}, False), ({"kind": "embedding"}, True), ({"capabilities": ["chat"]}, True)],
)
def test_of_a_model_behind_another_server_nobody_knows(tmp_path: Path, config: dict[str, Any], blind: bool) -> None:
    provider = create("openai", ProviderContext("openai", tmp_path))
    info = provider.describe(ModelEntry("m", "openai", config={"base_url": "http://127.0.0.1:9/v1", **config}))
    assert info.blind is blind
