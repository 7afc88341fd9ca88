"""GGUF models in llama.cpp: one child process per instance, each on a socket of its own.

docs/engines.md says what the child is and why. This file keeps the books of children; `engines/` runs them.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from lanhaven.config import engine_environment
from lanhaven.engines.child import to_the_end
from lanhaven.engines.cores import physical_cores
from lanhaven.engines.interpreter import module_command, module_environment
from lanhaven.engines.llamacpp_log import LAST_LINE, abort_reason, reason, stage_of, without_requests
from lanhaven.engines.page_cache import read_through
from lanhaven.engines.probe import Address
from lanhaven.engines.process import EngineProcess, Plan, Timers
from lanhaven.errors import (
    GatewayError,
    InstanceConflict,
    InvalidModelFile,
    InvalidRequest,
    ProviderUnavailable,
    UnsupportedFeature,
)
from lanhaven.formats.gguf_cache import HeaderCache
from lanhaven.providers.base import Health, Loaded, LoadObserver, ModelEntry, ProviderContext, Running
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
SOCKET_PATH_BYTES = 103  # macOS allows 104 with the final zero, Linux 108
UNIX_SOCKETS = sys.platform != "win32"
OLD_LOGS = 16  # ended instances whose last lines are kept
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


@dataclass(slots=True)
class _Engine:
    """A child and what runs in it; `loaded` is None while it loads. `gone`: it ended by itself, or is about to."""

    process: EngineProcess
    model_key: str
    loaded: Loaded | None = None
    gone: bool = False


class _Progress:
    """Tells the observer the stages; between them, that the engine is at work."""

    def __init__(self, observer: LoadObserver) -> None:
        self._observer = observer
        self._stage = "starting"
        self._since = 0.0

    def stage(self, name: str, fraction: float | None = None) -> None:
        self._stage, self._since = name, asyncio.get_running_loop().time()
        self._observer.progress(name, fraction)

    def line(self, line: str) -> None:
        if (stage := stage_of(line)) is not None:
            self.stage(stage)

    def effort(self) -> None:
        """A stage that takes long says how long already: a sign of life must say something new."""
        seconds = asyncio.get_running_loop().time() - self._since
        self._observer.progress(f"{self._stage} ({seconds:.0f} s)")


@dataclass(frozen=True, slots=True)
class _Job:
    """One load. `asked`: what somebody said of it, `used`: with the rest filled in."""

    key: str
    instance_id: str
    files: Files
    options: Options
    asked: LoadConfig
    used: LoadConfig
    progress: _Progress
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
        self._unix_sockets = unix_sockets
        self._version = find_version()
        self._threads = physical_cores()
        self._headers = HeaderCache()
        self._engines: dict[str, _Engine] = {}
        self._old_logs: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._devices: list[dict[str, Any]] | None = None
        self._broken: str | None = None  # why the engine cannot even start
        self._asking: asyncio.Task[None] | None = None
        if unix_sockets and len(bytes(self._new_socket())) > SOCKET_PATH_BYTES:
            raise ProviderUnavailable(
                f"The run folder's path is too long for a unix socket ({SOCKET_PATH_BYTES} bytes).",
                hint="Set run_dir to a shorter path.",
            )

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
        job = _Job(info.key, instance_id, files, options, asked, used, _Progress(observer), observer)
        room = int(psutil.virtual_memory().available * FREE_SHARE)
        await read_through(files.parts, room, lambda fraction: job.progress.stage("reading", fraction))
        return await self._run(job)

    async def _run(self, job: _Job) -> Loaded:
        if (former := self._engines.get(job.instance_id)) is not None and former.gone:
            await self.unload(job.instance_id)  # its end is under way
        if job.instance_id in self._engines:
            raise InstanceConflict(f"Instance {job.instance_id} runs already.", param="instance_id")
        job.progress.stage("starting")
        key = secrets.token_urlsafe(24)
        process = self._process(job, key)
        engine = self._engines[job.instance_id] = _Engine(process, job.key)
        try:
            ready = await process.start()
            self._devices, self._broken = ready["devices"], None
            loaded = self._loaded(job, process, key, await process.memory())
            engine.loaded = loaded
            return loaded
        finally:
            if engine.loaded is None:
                await to_the_end(asyncio.ensure_future(self.unload(job.instance_id)))

    def _process(self, job: _Job, key: str) -> EngineProcess:
        address = Address(str(self._new_socket())) if self._unix_sockets else None
        settings = child_settings(job.key, job.files, job.options, job.used, self._defaults)
        settings |= {"api_key": key, "listen": address.socket if address else "127.0.0.1"}

        def gone(error: GatewayError) -> None:
            self._engines[job.instance_id].gone = True
            job.observer.gone(error)

        return EngineProcess(
            Plan(job.key, module_command(WORKER), settings, self._environment(), self._folder, key, address, LAST_LINE),
            timers=self._timers,
            explain=reason,
            explain_crash=abort_reason,
            admit=without_requests,
            on_line=job.progress.line,
            on_effort=job.progress.effort,
            on_gone=gone,
        )

    def _loaded(self, job: _Job, process: EngineProcess, key: str, size_bytes: int) -> Loaded:
        address = process.address or Address()
        result = outcome(job.asked, job.used, process.log(), has_gpu(self._devices or ()))
        upstream = Upstream(
            model=job.key,
            base_url=address.base_url,
            socket=address.socket,
            headers=(("authorization", f"Bearer {key}"),),
            slots=result.config.slots,
            reuse_after_stream=False,
            routes=ROUTES[job.files.kind],
            logits=job.files.scores_are_logits,
            extras=EXTRAS,
        )
        return Loaded(upstream, result.config, size_bytes, result.applied, result.ignored)

    async def instances(self) -> Sequence[Running]:
        running = {name: engine for name, engine in self._engines.items() if engine.loaded and not engine.gone}
        sizes = await asyncio.gather(*(engine.process.memory() for engine in running.values()))
        return [
            Running(name, engine.model_key, size, engine.loaded.upstream, engine.loaded.load_config)
            for (name, engine), size in zip(running.items(), sizes, strict=True)
            if engine.loaded is not None
        ]

    async def unload(self, instance_id: str) -> None:
        engine = self._engines.get(instance_id)
        if engine is None:
            return
        await engine.process.stop()
        if self._engines.get(instance_id) is engine:
            del self._engines[instance_id]
            self._keep_log(instance_id, engine.process.log())

    def _keep_log(self, instance_id: str, lines: tuple[str, ...]) -> None:
        self._old_logs.pop(instance_id, None)
        self._old_logs[instance_id] = lines
        while len(self._old_logs) > OLD_LOGS:
            self._old_logs.popitem(last=False)

    def logs(self, instance_id: str) -> Sequence[str]:
        """Also of instances that ended lately: that is when one wants to read them."""
        engine = self._engines.get(instance_id)
        return engine.process.log() if engine is not None else self._old_logs.get(instance_id, ())

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

    def _new_socket(self) -> Path:
        """llama.cpp takes an address for a unix socket if it ends in ".sock"."""
        return self._folder / f"{secrets.token_hex(4)}.sock"

    async def aclose(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})
        await asyncio.gather(*(self.unload(instance_id) for instance_id in tuple(self._engines)))

    def __repr__(self) -> str:
        return f"LlamaCpp({', '.join(self._engines) or 'nothing loaded'})"
