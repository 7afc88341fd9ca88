"""GGUF models in llama.cpp: one child process per instance, each on a socket of its own.

docs/engines.md says what the child is and why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lanhaven.engines import llamacpp_log
from lanhaven.engines.cores import physical_cores
from lanhaven.engines.process import EngineProcess, Plan, Timers
from lanhaven.engines.serving import log
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
from lanhaven.providers.llamacpp.form import Form
from lanhaven.providers.llamacpp.forms import Forms
from lanhaven.providers.llamacpp.options import read_defaults, read_options
from lanhaven.providers.llamacpp.packages import Find, find_packages
from lanhaven.providers.llamacpp.plan import (
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

HEALTH_SECONDS = 1.5


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
        find: Find = find_packages,
    ) -> None:
        """InvalidRequest: a setting of the provider is wrong. ProviderUnavailable: its folder's path is too long."""
        self._defaults = read_defaults(context.options)
        super().__init__(context, self._defaults, timers, unix_sockets=unix_sockets)
        self._forms = Forms(self._defaults, find)
        self._threads = physical_cores()
        self._headers = HeaderCache()
        self._asking: asyncio.Task[None] | None = None

    # ---- models

    def describe(self, entry: ModelEntry) -> ModelInfo:
        try:
            options = read_options(entry.config)
            form = self._forms.of(options)
            if form.missing is not None:
                return ModelInfo(entry.id, self.name, unavailable=form.missing)
            files = read_files(options, self._headers)
            info = describe(entry.id, self.name, files, options.load)
            return replace(form.shown(info), unavailable=form.refuses(files))
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
        slots = self._forms.of(options).most_slots
        used = effective(files, config.over(options.load), self._defaults, self._threads, slots)
        return memory_needed(files, options, used, self._defaults)

    # ---- instances

    async def load(self, info: ModelInfo, instance_id: str, config: LoadConfig, observer: LoadObserver) -> Loaded:
        try:
            options = read_options(info.config)
            form = self._forms.of(options)
            if form.missing is not None:
                raise form.absent(info.key)
            files = await asyncio.to_thread(read_files, options, self._headers)
        except (InvalidRequest, InvalidModelFile) as error:
            raise as_load_failure(error, info.key) from error
        if (why := form.refuses(files)) is not None:
            raise UnsupportedFeature(f"{info.key} cannot be loaded: {why}")
        await form.prepare()
        asked = config.over(options.load)
        used = effective(files, asked, self._defaults, self._threads, form.most_slots)
        settings = child_settings(info.key, files, options, used, self._defaults)

        def loaded(place: Place, process: EngineProcess, ready: Mapping[str, Any], size_bytes: int) -> Loaded:
            form.devices, form.broken = ready.get("devices", form.devices), None
            result = outcome(asked, used, form.told(ready, process.log()), has_gpu(form.devices or ()))
            upstream = place.upstream(
                process,
                info.key,
                slots=result.config.slots,
                reuse_after_stream=form.keeps_connections,
                routes=form.routes(files.kind),
                logits=files.scores_are_logits,
                extras=form.extras,
            )
            ignored = (*result.ignored, *form.ignored(settings))
            return Loaded(upstream, result.config, size_bytes, result.applied, ignored)

        def plan(place: Place) -> Plan:
            return form.plan(info.key, settings, place, self._folder)

        return await self._run(
            Load(info.key, instance_id, files.parts, observer, Progress(observer, _stage), plan, loaded)
        )

    # ---- the engine as such

    async def health(self) -> Health:
        form = self._forms.default
        if form.missing is not None:
            return Health(ok=False, kind="engine", detail=form.missing)
        if form.devices is None and form.broken is None:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask_for_devices(form))
            await asyncio.wait({self._asking}, timeout=HEALTH_SECONDS)
        threads = f"{self._threads} CPU thread{'' if self._threads == 1 else 's'}"
        name = " ".join(filter(None, (form.name, form.version)))
        detail = form.broken or ", ".join([name, threads, *devices_in_words(form.devices or ())])
        return Health(ok=form.broken is None, kind="engine", detail=detail, version=form.version)

    async def _ask_for_devices(self, form: Form) -> None:
        try:
            await form.ask(self._folder, self._timers)
        except GatewayError as error:
            form.broken = error.message

    async def aclose(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})
        await super().aclose()


def _stage(line: str) -> tuple[str, float | None] | None:
    """llama.cpp's own words have no share; our worker's have one."""
    stage = llamacpp_log.stage_of(line)
    return (stage, None) if stage is not None else log.stage_of(line)
