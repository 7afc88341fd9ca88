"""Ollama's ways to bring, make and remove models, as far as they mean anything here.

Models are files of the person who runs the server, listed in models.yaml: no client makes, copies or removes them over
the API. `pull` answers for a model that is there, and fetches a packed one.
"""

from __future__ import annotations

from collections.abc import Mapping

from lanhaven.dialects.base import Call, Handler
from lanhaven.dialects.ollama.request import read_asked
from lanhaven.downloads import Download, Downloads, DownloadStatus
from lanhaven.errors import GatewayError, LoadFailed, ModelNotFound, NotFound, UnsupportedFeature
from lanhaven.gateway import Gateway
from lanhaven.wire import encode, ndjson, read_strict

LATEST = ":latest"


class Management:
    """pull, push, create, copy, delete, blobs."""

    def __init__(self, gateway: Gateway, downloads: Downloads) -> None:
        self._gateway = gateway
        self._downloads = downloads

    def routes(self) -> Mapping[str, Mapping[str, Handler]]:
        """Path -> method -> handler."""
        return {
            "/api/pull": {"POST": self._pull},
            "/api/create": {"POST": self._never},
            "/api/copy": {"POST": self._never},
            "/api/push": {"POST": self._never},
            "/api/delete": {"DELETE": self._never},
            "/api/blobs/": {"HEAD": self._no_blob, "POST": self._never},
        }

    async def _never(self, call: Call) -> None:
        raise UnsupportedFeature(
            f"{call.path} is not served: models are files of this server's owner, listed in models.yaml.",
            hint="lanhaven get, or an entry in models.yaml",
            retry=False,
        )

    async def _no_blob(self, call: Call) -> None:
        raise NotFound("There is no such blob.", retry=False)

    async def _pull(self, call: Call) -> None:
        asked = read_asked(read_strict(call.body), chat=False)
        try:
            self._gateway.model(asked.model)
        except ModelNotFound as missing:
            await self._fetch(call, asked.model.removesuffix(LATEST), missing, stream=asked.stream)
            return
        lines = [{"status": "pulling manifest"}, {"status": "success"}]
        if asked.stream:
            await call.reply(200, b"".join(ndjson(encode(line)) for line in lines), call.dialect.stream_headers)
        else:
            await call.reply(200, encode(lines[-1]))

    async def _fetch(self, call: Call, name: str, missing: GatewayError, *, stream: bool) -> None:
        try:
            job = self._downloads.start(name)
        except ModelNotFound:
            raise missing from None
        if stream:
            call.expect_stream()
            await call.start()
            await call.write(ndjson(encode({"status": "pulling manifest"})))
        async for state in self._downloads.follow(job.job_id):
            if state.status is DownloadStatus.FAILED:
                raise LoadFailed(state.error or f"{name} could not be fetched.", retry=True)
            if stream:
                await call.write(ndjson(encode(progress(state))))
        if stream:
            await call.write(ndjson(encode({"status": "success"})))
            await call.finish()
        else:
            await call.reply(200, encode({"status": "success"}))


def progress(state: Download) -> dict[str, object]:
    """A line of a pull."""
    if state.stage != "downloading":
        return {"status": state.stage}
    digest = f"sha256:{state.model}"
    return {
        "status": f"pulling {state.model}",
        "digest": digest,
        "total": state.total_bytes,
        "completed": state.downloaded_bytes,
    }
