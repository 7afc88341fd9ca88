"""What can be downloaded over the WebSocket: the packed models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lanhaven.dialects.base import DialectContext
from lanhaven.dialects.lmstudio.ws.endpoint import Channel, Peer, Shared
from lanhaven.dialects.lmstudio.ws.repository import download_model
from lanhaven.downloads import Downloads
from lanhaven.errors import GatewayError, ProviderUnavailable
from tests.dialects.lmstudio.frames import MODELS, frames
from tests.serving import serving
from tests.test_downloads import Source, downloading

pytestmark = pytest.mark.anyio


async def test_searching(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url, "repository") as client:

        async def found(**opts: Any) -> list[dict[str, Any]]:
            results: list[dict[str, Any]] = (await client.result("searchModels", {"opts": opts}))["results"]
            return results

        assert [each["name"] for each in await found()] == ["smollm2", "minilm"]
        (exact,) = await found(searchTerm="SmolLM2-135M-Instruct")
        assert exact == {
            "name": "smollm2",
            "identifier": {"type": "catalog", "identifier": "smollm2"},
            "exact": True,
        }
        assert [each["name"] for each in await found(searchTerm="embeddings")] == ["minilm"]
        assert len(await found(limit=1)) == 1
        assert await found(compatibilityTypes=["safetensors"]) == []
        assert await found(searchTerm="gpt-9") == []


async def test_options_of_a_model(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url, "repository") as client:
        named = {"modelSearchResultIdentifier": {"type": "catalog", "identifier": "smollm2"}}
        (option,) = (await client.result("getModelDownloadOptions", named))["results"]
        assert (option["name"], option["quantization"]) == ("SmolLM2-135M-Instruct", "Q4_1")
        assert (option["downloadIdentifier"], option["compatibilityType"]) == ("smollm2", "gguf")
        assert option["sizeBytes"] > 1 << 26
        assert option["fitEstimation"] in ("fitWithoutGPU", "willNotFit")
        unknown = {"modelSearchResultIdentifier": {"type": "hf", "identifier": "gpt-9"}}
        assert "models.yaml" in (await client.error("getModelDownloadOptions", unknown))["suggestion"]
        assert "Identifier" in (await client.error("getModelDownloadOptions", {}))["title"]


@asynccontextmanager
async def asking(home: Path, downloads: Downloads) -> AsyncIterator[tuple[Peer, Channel, list[Any]]]:
    """The server's end of a channel, and what is sent over it."""
    packets: list[Any] = []

    async def send(packet: Any) -> None:
        packets.append(packet)

    async with serving(home, MODELS) as house:
        services = house.services
        context = DialectContext(services.gateway, home, services.store, downloads)
        peer = Peer(context, Shared(context), "repository", "me", "c1", scopes=lambda: frozenset({"admin"}))
        yield peer, Channel(send), packets


async def test_a_download_tells_how_far_it_is(tmp_path: Path) -> None:
    source = Source()
    source.go.release(10)
    async with downloading(source) as downloads, asking(tmp_path, downloads) as (peer, channel, packets):
        await download_model(peer, channel, {"downloadIdentifier": "smollm2"})
        assert [each["type"] for each in packets if each["type"] != "downloadProgress"] == [
            "startFinalizing",
            "success",
        ]
        told = [each["update"]["downloadedBytes"] for each in packets if each["type"] == "downloadProgress"]
        assert told == sorted(told)
        assert packets[-1] == {"type": "success", "defaultIdentifier": "smollm2"}
        assert [name for name, _ in source.registered] == ["smollm2"]


async def test_a_download_that_fails_says_why(tmp_path: Path) -> None:
    source = Source(failure=ProviderUnavailable("The registry cannot be reached."))
    source.go.release(10)
    async with downloading(source) as downloads, asking(tmp_path, downloads) as (peer, channel, _):
        with pytest.raises(GatewayError, match="registry"):
            await download_model(peer, channel, {"downloadIdentifier": "smollm2"})


async def test_who_cancels_hears_no_more_and_the_download_goes_on(tmp_path: Path) -> None:
    source = Source()
    async with downloading(source) as downloads, asking(tmp_path, downloads) as (peer, channel, packets):
        listening = asyncio.create_task(download_model(peer, channel, {"downloadIdentifier": "smollm2"}))
        job = downloads.start("smollm2")
        channel.arrived({"type": "cancel"})
        await listening
        assert all(each["type"] == "downloadProgress" for each in packets)
        source.go.release(10)
        async for state in downloads.follow(job.job_id):
            last = state
        assert last.status == "completed"


async def test_what_cannot_be_downloaded(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url, "repository") as client:
        (refused,) = await client.channel("downloadModel", {"downloadIdentifier": "gpt-9"})
        assert "gpt-9" in refused["error"]["title"]
