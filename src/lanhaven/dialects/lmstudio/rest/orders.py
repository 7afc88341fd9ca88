"""LM Studio's REST orders: load, unload, download. They change everybody's models: the door asks for an admin key."""

from __future__ import annotations

from typing import Any

from lanhaven.dialects.base import Call, DialectContext
from lanhaven.dialects.lmstudio.models import facts_of, find_instance
from lanhaven.dialects.lmstudio.rest.fields import flag, required, text, whole
from lanhaven.dialects.lmstudio.rest.models import named, v1_config
from lanhaven.downloads import Download, DownloadStatus
from lanhaven.errors import ModelNotFound, NotFound
from lanhaven.events import iso
from lanhaven.types.models import LoadConfig
from lanhaven.wire import encode, read_strict

DOWNLOADS = "/api/v1/models/download/status/"
JOB_NOT_FOUND = "job_not_found"

# Fields of LM Studio's load that nothing here can apply, and why.
IGNORED = {
    "eval_batch_size": "the engine decides how many tokens it evaluates at once",
    "num_experts": "the model file decides how many experts are used",
    "offload_kv_cache_to_gpu": "the cache lies where its layers are",
}


class Orders:
    """The handlers."""

    def __init__(self, context: DialectContext) -> None:
        self._gateway = context.gateway
        self._downloads = context.downloads

    async def load(self, call: Call) -> None:
        """Load a model; one that is loaded alike is given again (C29)."""
        body = read_strict(call.body)
        info, _ = named(self._gateway, required(body, "model"))
        config = LoadConfig(context_length=whole(body, "context_length"), flash_attention=flag(body, "flash_attention"))
        echo = flag(body, "echo_load_config")
        result = await self._gateway.load(info.key, config=config, activate=self._gateway.catalog.active is None)
        reply: dict[str, Any] = {
            "type": facts_of(info).type,
            "instance_id": result.instance.instance_id,
            "load_time_seconds": round(result.seconds, 3),
            "status": "loaded",
        }
        if echo:
            reply["load_config"] = v1_config(info, result.instance)
        ignored = ignored_fields(body, ("model", "context_length", "flash_attention", "echo_load_config"))
        ignored += [{"key": _snake(each.key), "reason": each.reason} for each in result.ignored]
        await call.reply(200, encode(reply | ({"ignored": ignored} if ignored else {})))

    async def unload(self, call: Call) -> None:
        """Unload one instance: requests under way may finish."""
        name = required(read_strict(call.body), "instance_id")
        if self._gateway.pool.get(name) is None:
            name = self._instance(name)
        await self._gateway.unload(name, name)
        await call.reply(200, encode({"instance_id": name}))

    def _instance(self, name: str) -> str:
        try:
            return find_instance(self._gateway, name)[1].instance_id
        except ModelNotFound:
            raise ModelNotFound(f"No instance {name[:200]!r} is loaded.", param="instance_id", retry=False) from None

    async def download(self, call: Call) -> None:
        """Begin to fetch a model that LanHaven can get (`lanhaven get`)."""
        body = read_strict(call.body)
        name, quantization = required(body, "model"), text(body, "quantization")
        known = self._known(name)
        if known is not None:
            reply: dict[str, Any] = {"status": "already_downloaded", "total_size_bytes": known}
        else:
            reply = download_json(self._downloads.start(name, quantization), progress=False)
        await call.reply(200, encode(reply))

    async def download_status(self, call: Call) -> None:
        """How far a download is."""
        try:
            state = self._downloads.job(call.path.removeprefix(DOWNLOADS))
        except NotFound as error:
            raise NotFound(error.message, param="job_id", retry=False, facts={"type": JOB_NOT_FOUND}) from None
        await call.reply(200, encode(download_json(state, progress=True)))

    def _known(self, name: str) -> int | None:
        """The size of a model that is here; None if none is. One whose file is gone is not here."""
        try:
            info, _ = named(self._gateway, name)
        except ModelNotFound:
            return None
        return info.size_bytes if info.unavailable is None else None


def download_json(state: Download, *, progress: bool) -> dict[str, Any]:
    """A job; with `progress` as its status tells it."""
    reply: dict[str, Any] = {
        "job_id": state.job_id,
        "status": state.status.value,
        "total_size_bytes": state.total_bytes,
        "started_at": iso(state.started_at),
    }
    if state.completed_at is not None:
        reply["completed_at"] = iso(state.completed_at)
    if state.error is not None:
        reply["error"] = state.error
    if not progress:
        return reply
    reply["downloaded_bytes"] = state.downloaded_bytes
    if state.bytes_per_second is not None and state.status is DownloadStatus.DOWNLOADING:
        reply["bytes_per_second"] = round(state.bytes_per_second)
    if state.estimated_end is not None:
        reply["estimated_completion"] = iso(state.estimated_end)
    return reply


def ignored_fields(body: dict[str, Any], known: tuple[str, ...]) -> list[dict[str, str]]:
    """What was said and has no effect, with the reason."""
    unknown = (name for name, value in body.items() if name not in known and value is not None)
    return [{"key": name, "reason": IGNORED.get(name, "LanHaven knows no such field")} for name in unknown]


def _snake(camel: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in camel).replace(".", "_")
