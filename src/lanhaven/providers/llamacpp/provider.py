"""GGUF models in llama.cpp: one child process per instance, each on a socket of its own.

docs/engines.md says what the child is and why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil

from lanhaven.config import engine_environment
from lanhaven.engines.cores import physical_cores
from lanhaven.engines.interpreter import module_command, module_environment
from lanhaven.engines.llamacpp_log import LAST_LINE, LAST_STAGE, abort_reason, reason, stage_of, without_requests
from lanhaven.engines.page_cache import read_through
from lanhaven.engines.probe import Address
from lanhaven.engines.process import EngineProcess, Plan, Timers
from lanhaven.errors import (
    GatewayError,
    InvalidModelFile,
    InvalidRequest,
    UnsupportedFeature,
)
from lanhaven.formats.gguf_cache import HeaderCache
from lanhaven.providers.base import Health, Loaded, LoadObserver, ModelEntry, ProviderContext, Running
from lanhaven.providers.children import UNIX_SOCKETS, Children, Place, Progress
from lanhaven.providers.llamacpp.options import Options, read_defaults, read_options
from lanhaven.providers.llamacpp.plan import (
    EXTRAS,
    ROUTES,
    Files,
    as_load_failure,
    child_settings,
    describe,
    devices_in_words,
    effective,
    has_gpu,
    memory_needed,
    outcome,
    read_files,
)
from lanhaven.types.models import LoadConfig, ModelInfo, Sampling, Upstream

WORKER = "lanhaven.engines.llamacpp_worker"
PACKAGE = "xllamacpp"
REMEDY = "pip install 'lanhaven[llamacpp]'"
FREE_SHARE = 0.8  # of the memory that is available: larger files are not read ahead
HEALTH_SECONDS = 1.5
DEVICES_SECONDS = 30.0  # a GPU runtime takes some
# The pool bounds a load, by its sum and by what `observer` is told: a second clock could only contradict it.
TIMERS = Timers(load_total=None, load_stall=None)


def installed_version() -> str | None:
    """Of the engine's package, without importing it."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return None


def create(context: ProviderContext) -> LlamaCpp:
    return LlamaCpp(context)


@dataclass(frozen=True, slots=True)
class _Job:
    """One load. `asked`: what somebody said of it, `used`: with the rest filled in."""

    key: str
    instance_id: str
    files: Files
    options: Options
    asked: LoadConfig
    used: LoadConfig
    progress: Progress
    observer: LoadObserver


class LlamaCpp:
    """The provider `llama_cpp`."""

    load_fields = frozenset(LoadConfig.__dataclass_fields__) - {"idle_ttl"}
    sampling_fields = frozenset(Sampling.__dataclass_fields__)

    def __init__(
        self,
        context: ProviderContext,
        *,
        timers: Timers = TIMERS,
        unix_sockets: bool = UNIX_SOCKETS,
        find_version: Callable[[], str | None] = installed_version,
    ) -> None:
        """InvalidRequest: a setting of the provider is wrong. ProviderUnavailable: its folder's path is too long."""
        self.name = context.name
        self._folder = context.run_dir
        self._defaults = read_defaults(context.options)
        self._timers = replace(timers, terminate=self._defaults.stop_seconds, **self._defaults.probes())
        self._version = find_version()
        self._threads = physical_cores()
        self._headers = HeaderCache()
        self._children = Children(context.run_dir, unix_sockets=unix_sockets)
        self._devices: list[dict[str, Any]] | None = None
        self._broken: str | None = None  # why the engine cannot even start
        self._asking: asyncio.Task[None] | None = None

    # ---- models

    def describe(self, entry: ModelEntry) -> ModelInfo:
        if self._version is None:
            return ModelInfo(entry.id, self.name, unavailable=f"The engine {PACKAGE} is not installed: {REMEDY}")
        try:
            options = read_options(entry.config)
            return describe(entry.id, self.name, read_files(options, self._headers), options.load)
        except (InvalidRequest, InvalidModelFile) as error:
            return ModelInfo(entry.id, self.name, unavailable=error.message)

    async def models(self) -> Sequence[ModelInfo]:
        return ()

    def estimate(self, info: ModelInfo, config: LoadConfig) -> int:
        try:
            options = read_options(info.config)
            files = read_files(options, self._headers)
        except (InvalidRequest, InvalidModelFile):
            return 0  # the load will say what is wrong
        used = effective(files, config.over(options.load), self._defaults, self._threads)
        return memory_needed(files, options, used, self._defaults)

    # ---- instances

    async def load(self, info: ModelInfo, instance_id: str, config: LoadConfig, observer: LoadObserver) -> Loaded:
        if self._version is None:
            raise UnsupportedFeature(f"{info.key} needs the engine {PACKAGE}, which is not installed.", hint=REMEDY)
        try:
            options = read_options(info.config)
            files = await asyncio.to_thread(read_files, options, self._headers)
        except (InvalidRequest, InvalidModelFile) as error:
            raise as_load_failure(error, info.key) from error
        asked = config.over(options.load)
        used = effective(files, asked, self._defaults, self._threads)
        job = _Job(info.key, instance_id, files, options, asked, used, Progress(observer, _stage), observer)
        room = int(psutil.virtual_memory().available * FREE_SHARE)
        await read_through(files.parts, room, lambda fraction: job.progress.stage("reading", fraction))
        return await self._run(job)

    async def _run(self, job: _Job) -> Loaded:
        job.progress.stage("starting")
        place = self._children.place()
        return await self._children.start(
            job.instance_id,
            job.key,
            job.observer,
            lambda gone: self._process(job, place, gone),
            lambda process, ready, size: self._loaded(job, process, place, ready, size),
        )

    def _process(self, job: _Job, place: Place, gone: Callable[[GatewayError], None]) -> EngineProcess:
        settings = child_settings(job.key, job.files, job.options, job.used, self._defaults)
        settings |= {"api_key": place.key, "listen": place.listen}
        command, environment = module_command(WORKER), self._environment()
        return EngineProcess(
            Plan(
                job.key, command, settings, environment, self._folder, place.key, place.address, LAST_LINE, LAST_STAGE
            ),
            timers=self._timers,
            explain=reason,
            explain_crash=abort_reason,
            admit=without_requests,
            on_line=job.progress.line,
            on_effort=job.progress.effort,
            on_gone=gone,
        )

    def _loaded(
        self, job: _Job, process: EngineProcess, place: Place, ready: Mapping[str, Any], size_bytes: int
    ) -> Loaded:
        self._devices, self._broken = ready["devices"], None
        address = process.address or Address()
        result = outcome(job.asked, job.used, process.log(), has_gpu(self._devices or ()))
        upstream = Upstream(
            model=job.key,
            base_url=address.base_url,
            socket=address.socket,
            headers=place.headers,
            slots=result.config.slots,
            reuse_after_stream=False,
            routes=ROUTES[job.files.kind],
            logits=job.files.scores_are_logits,
            extras=EXTRAS,
        )
        return Loaded(upstream, result.config, size_bytes, result.applied, result.ignored)

    async def instances(self) -> Sequence[Running]:
        return await self._children.instances()

    async def unload(self, instance_id: str) -> None:
        await self._children.unload(instance_id)

    def logs(self, instance_id: str) -> Sequence[str]:
        return self._children.logs(instance_id)

    # ---- the engine as such

    async def health(self) -> Health:
        if self._version is None:
            return Health(ok=False, kind="engine", detail=f"{PACKAGE} is not installed: {REMEDY}")
        if self._devices is None and self._broken is None:
            self._asking = self._asking or asyncio.create_task(self._ask_for_devices())
            await asyncio.wait({self._asking}, timeout=HEALTH_SECONDS)
        threads = f"{self._threads} CPU thread{'' if self._threads == 1 else 's'}"
        parts = [f"{PACKAGE} {self._version}", threads, *devices_in_words(self._devices or ())]
        detail = self._broken or ", ".join(parts)
        return Health(ok=self._broken is None, kind="engine", detail=detail, version=self._version)

    async def _ask_for_devices(self) -> None:
        """A child that lives a tenth of a second: the gateway itself never loads native code of an engine."""
        child = EngineProcess(
            Plan("llama.cpp", module_command(WORKER), {"only_devices": True}, self._environment(), self._folder),
            timers=replace(self._timers, load_total=DEVICES_SECONDS),
        )
        try:
            ready = await child.start()
            self._devices = self._devices or ready["devices"]
        except GatewayError as error:
            self._broken = error.message
        finally:
            await child.stop()

    def _environment(self) -> dict[str, str]:
        return module_environment(engine_environment({}))

    async def aclose(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})
        await self._children.aclose()

    def __repr__(self) -> str:
        return f"LlamaCpp({self._children!r})"


def _stage(line: str) -> tuple[str, float | None] | None:
    stage = stage_of(line)
    return (stage, None) if stage is not None else None
