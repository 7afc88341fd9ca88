"""GGUF models in llama.cpp: one child process per instance, each on a socket of its own.

docs/engines.md says what the child is and why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lanhaven.config import engine_environment
from lanhaven.engines.cores import physical_cores
from lanhaven.engines.interpreter import module_command, module_environment
from lanhaven.engines.llamacpp_log import LAST_LINE, LAST_STAGE, stage_of
from lanhaven.engines.process import EngineProcess, Plan, Timers
from lanhaven.errors import (
    GatewayError,
    InvalidModelFile,
    InvalidRequest,
    UnsupportedFeature,
)
from lanhaven.formats.gguf_cache import HeaderCache
from lanhaven.providers.base import Health, Loaded, LoadObserver, ModelEntry, ProviderContext
from lanhaven.providers.children import UNIX_SOCKETS, ChildProvider, Load, Place, Progress, as_load_failure
from lanhaven.providers.defaults import TIMERS
from lanhaven.providers.llamacpp.options import read_defaults, read_options
from lanhaven.providers.llamacpp.plan import (
    EXTRAS,
    ROUTES,
    child_settings,
    describe,
    devices_in_words,
    effective,
    has_gpu,
    memory_needed,
    outcome,
    read_files,
)
from lanhaven.types.memory import MemoryEstimate
from lanhaven.types.models import LoadConfig, ModelInfo, Sampling

WORKER = "lanhaven.engines.llamacpp_worker"
PACKAGE = "xllamacpp"
REMEDY = "pip install 'lanhaven[llamacpp]'"
HEALTH_SECONDS = 1.5
DEVICES_SECONDS = 30.0  # a GPU runtime takes some


def installed_version() -> str | None:
    """Of the engine's package, without importing it."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return None


def create(context: ProviderContext) -> LlamaCpp:
    return LlamaCpp(context)


class LlamaCpp(ChildProvider):
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
        self._defaults = read_defaults(context.options)
        super().__init__(context, self._defaults, timers, unix_sockets=unix_sockets)
        self._version = find_version()
        self._threads = physical_cores()
        self._headers = HeaderCache()
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

    def estimate(self, info: ModelInfo, config: LoadConfig) -> int:
        parts = self.itemise(info, config)
        return parts.total if parts is not None else 0

    def itemise(self, info: ModelInfo, config: LoadConfig) -> MemoryEstimate | None:
        try:
            options = read_options(info.config)
            files = read_files(options, self._headers)
        except (InvalidRequest, InvalidModelFile):
            return None  # the load will say what is wrong
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

        def plan(place: Place) -> Plan:
            settings = child_settings(info.key, files, options, used, self._defaults)
            settings |= {"api_key": place.key, "listen": place.listen}
            return Plan(
                info.key,
                module_command(WORKER),
                settings,
                self._environment(),
                self._folder,
                place.key,
                place.address,
                LAST_LINE,
                LAST_STAGE,
            )

        def loaded(place: Place, process: EngineProcess, ready: Mapping[str, Any], size_bytes: int) -> Loaded:
            self._devices, self._broken = ready["devices"], None
            result = outcome(asked, used, process.log(), has_gpu(self._devices or ()))
            upstream = place.upstream(
                process,
                info.key,
                slots=result.config.slots,
                reuse_after_stream=False,
                routes=ROUTES[files.kind],
                logits=files.scores_are_logits,
                extras=EXTRAS,
            )
            return Loaded(upstream, result.config, size_bytes, result.applied, result.ignored)

        return await self._run(
            Load(info.key, instance_id, files.parts, observer, Progress(observer, _stage), plan, loaded)
        )

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
        await super().aclose()


def _stage(line: str) -> tuple[str, float | None] | None:
    stage = stage_of(line)
    return (stage, None) if stage is not None else None
