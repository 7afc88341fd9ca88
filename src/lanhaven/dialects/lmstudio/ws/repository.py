"""`repository`: what can be downloaded here, which is the packed models. There is no hub behind it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import psutil

from lanhaven.dialects.lmstudio.ws.attention import attended
from lanhaven.dialects.lmstudio.ws.endpoint import ADMIN, Channel, ChannelHandler, Peer, Rpc
from lanhaven.dialects.lmstudio.ws.fields import table, text
from lanhaven.downloads import Download, Downloads, DownloadStatus
from lanhaven.errors import InvalidRequest, ProviderUnavailable

MOST_RESULTS = 25


async def search_models(peer: Peer, parameter: Any) -> dict[str, Any]:
    """{opts: {searchTerm?, limit?, compatibilityTypes?}} -> {results}."""
    opts = table(table(parameter).get("opts") or {})
    term, limit = opts.get("searchTerm"), opts.get("limit")
    kinds = opts.get("compatibilityTypes")
    low = term.lower() if isinstance(term, str) else ""
    found = []
    for model in peer.context.downloads.models() if kinds is None or "gguf" in kinds else ():
        names = [each.lower() for each in (model.name, *model.aliases)]
        if any(low in each for each in (*names, model.description.lower())):
            exact = {"exact": True} if low in names else {}
            found.append({"name": model.name, "identifier": {"type": "catalog", "identifier": model.name}, **exact})
    most = min(limit, MOST_RESULTS) if isinstance(limit, int) and limit > 0 else MOST_RESULTS
    return {"results": found[:most]}


async def get_model_download_options(peer: Peer, parameter: Any) -> dict[str, Any]:
    """{modelSearchResultIdentifier} -> {results}: each packed model comes in one form."""
    match table(parameter).get("modelSearchResultIdentifier"):
        case {"identifier": str(name)}:
            model = peer.context.downloads.find(name)
        case _:
            raise InvalidRequest(
                "modelSearchResultIdentifier must have an identifier.", param="modelSearchResultIdentifier"
            )
    fits = model.file.size < psutil.virtual_memory().available
    stem, _, quantization = model.file.name.removesuffix(".gguf").rpartition(".")
    option = {
        "name": stem or model.name,
        "quantization": quantization,
        "sizeBytes": model.file.size,
        "fitEstimation": "fitWithoutGPU" if fits else "willNotFit",
        "recommended": True,
        "downloadIdentifier": model.name,
        "indexedModelIdentifier": model.name,
        "compatibilityType": "gguf",
    }
    return {"results": [option]}


async def download_model(peer: Peer, channel: Channel, parameter: Any) -> None:
    """{downloadIdentifier}: downloadProgress..., startFinalizing, success.

    A client that cancels stops listening; the download goes on, as others may wait for it.
    """
    peer.need(ADMIN)
    downloads = peer.context.downloads
    job = downloads.start(text(table(parameter), "downloadIdentifier"))
    teller = _Teller(channel, job)
    async with attended(channel, teller.beat):
        await teller.follow(downloads)


class _Teller:
    """Tells one client of a download."""

    def __init__(self, channel: Channel, state: Download) -> None:
        self._channel = channel
        self._state = state
        self._finalizing = False

    async def follow(self, downloads: Downloads) -> None:
        async for state in downloads.follow(self._state.job_id):
            self._state = state
            if state.status is DownloadStatus.FAILED:
                raise ProviderUnavailable(state.error or "The download failed.", retry=False)
            await self.beat()
            if not self._finalizing and (
                state.completed_at is not None or state.stage not in ("downloading", "waiting")
            ):
                self._finalizing = True
                await self._channel.send({"type": "startFinalizing"})
        await self._channel.send({"type": "success", "defaultIdentifier": self._state.model})

    async def beat(self) -> None:
        """How far it is."""
        state = self._state
        if not self._finalizing:
            update = {
                "downloadedBytes": state.downloaded_bytes,
                "totalBytes": state.total_bytes,
                "speedBytesPerSecond": state.bytes_per_second or 0.0,
            }
            await self._channel.send({"type": "downloadProgress", "update": update})


RPCS: Mapping[str, Rpc] = MappingProxyType(
    {"searchModels": search_models, "getModelDownloadOptions": get_model_download_options}
)
CHANNELS: Mapping[str, ChannelHandler] = MappingProxyType({"downloadModel": download_model})
