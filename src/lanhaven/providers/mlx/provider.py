"""MLX models (Apple silicon; Linux too): one child process per instance, each on a socket of its own.

docs/mlx.md says what the child is and can do.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lanhaven.config import engine_environment
from lanhaven.engines.interpreter import installed_in, module_command, module_environment
from lanhaven.engines.process import EngineProcess, Plan, Timers
from lanhaven.engines.serving.child import versions
from lanhaven.engines.serving.log import stage_of
from lanhaven.errors import InvalidModelFile, InvalidRequest, UnsupportedFeature
from lanhaven.providers.base import Health, Loaded, LoadObserver, ModelEntry, ProviderContext
from lanhaven.providers.children import UNIX_SOCKETS, ChildProvider, Load, Place, Progress, as_load_failure
from lanhaven.providers.defaults import TIMERS
from lanhaven.providers.mlx.options import Options, read_defaults, read_options
from lanhaven.providers.mlx.plan import (
    EMBEDDING_ROUTES,
    EXTRAS,
    ROUTES,
    Files,
    child_settings,
    describe,
    effective,
    memory_needed,
    outcome,
    read_files,
)
from lanhaven.types.memory import MemoryEstimate
from lanhaven.types.models import LoadConfig, ModelInfo, Sampling

WORKER = "lanhaven.engines.mlx.worker"
PACKAGE, EYES = "mlx-lm", "mlx-vlm"
REMEDY = "pip install 'lanhaven[mlx]', or name a Python that has it: providers.mlx.python"
# transformers copies code that comes with a model there before it runs it. Some processors of mlx-vlm ask for that.
NOWHERE = f"{os.devnull}/code"


def create(context: ProviderContext) -> MLX:
    return MLX(context)


@dataclass(frozen=True, slots=True)
class Installed:
    """`version` of mlx-lm, or why it is `missing`; `eyes`: the version of mlx-vlm, None = models do not see."""

    version: str | None
    missing: str | None = None
    eyes: str | None = None


def find_installed(python: Path | None) -> Installed:
    """Without importing anything."""
    if python is None:
        found = versions(PACKAGE, EYES)
        missing = f"The engine {PACKAGE} is not installed: {REMEDY}"
    else:
        try:
            found = installed_in(python, (PACKAGE, EYES), engine_environment({}))
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            return Installed(None, f"providers.mlx.python cannot be used: {why}.")
        missing = f"The engine {PACKAGE} is not installed for providers.mlx.python: pip install it."
    return Installed(found[PACKAGE], None if found[PACKAGE] else missing, found[EYES])


class MLX(ChildProvider):
    """The provider `mlx`."""

    load_fields = frozenset({"context_length", "slots", "kv_type"})
    sampling_fields = frozenset(Sampling.__dataclass_fields__)

    def __init__(
        self,
        context: ProviderContext,
        *,
        timers: Timers = TIMERS,
        unix_sockets: bool = UNIX_SOCKETS,
        find: Callable[[Path | None], Installed] = find_installed,
    ) -> None:
        """InvalidRequest: a setting of the provider is wrong. ProviderUnavailable: its folder's path is too long."""
        self._defaults = read_defaults(context.options)
        super().__init__(context, self._defaults, timers, unix_sockets=unix_sockets)
        self._installed = find(self._defaults.python)
        self._missing = self._installed.missing
        self._device: str | None = None  # known after the first load

    # ---- models

    def describe(self, entry: ModelEntry) -> ModelInfo:
        try:
            options = read_options(entry.config)
            info = describe(entry.id, self.name, self._read(options), options)
        except (InvalidRequest, InvalidModelFile) as error:
            return ModelInfo(entry.id, self.name, unavailable=self._missing or error.message)
        return replace(info, unavailable=self._missing)

    def estimate(self, info: ModelInfo, config: LoadConfig) -> int:
        parts = self.itemise(info, config)
        return parts.total if parts is not None else 0

    def itemise(self, info: ModelInfo, config: LoadConfig) -> MemoryEstimate | None:
        try:
            options = read_options(info.config)
            files = self._read(options)
        except (InvalidRequest, InvalidModelFile):
            return None  # the load will say what is wrong
        used = effective(files, options, config.over(options.load), self._defaults)
        return memory_needed(files, options, used, self._defaults)

    def _read(self, options: Options) -> Files:
        return read_files(options, eyes=self._installed.eyes is not None)

    # ---- instances

    async def load(self, info: ModelInfo, instance_id: str, config: LoadConfig, observer: LoadObserver) -> Loaded:
        if self._missing is not None:
            raise UnsupportedFeature(f"{info.key} needs the engine {PACKAGE}. {self._missing}", hint=REMEDY)
        try:
            options = read_options(info.config)
            files = await asyncio.to_thread(self._read, options)
        except (InvalidRequest, InvalidModelFile) as error:
            raise as_load_failure(error, info.key) from error
        asked = config.over(options.load)
        used = effective(files, options, asked, self._defaults)

        def plan(place: Place) -> Plan:
            settings = child_settings(info.key, files, options, used, self._defaults)
            settings |= {"api_key": place.key, "listen": place.listen}
            python = self._defaults.python
            environment = module_environment(engine_environment({"HF_MODULES_CACHE": NOWHERE}), python=python)
            command = module_command(WORKER, python=python)
            return Plan(info.key, command, settings, environment, self._folder, place.key, place.address)

        def loaded(place: Place, process: EngineProcess, ready: Mapping[str, Any], size_bytes: int) -> Loaded:
            device = ready["devices"][0]
            self._device = f"{device['description']} ({device['type']})"
            routes = EMBEDDING_ROUTES if files.pooling else ROUTES
            result = outcome(asked, used, files, options, ready)
            upstream = place.upstream(process, info.key, slots=result.config.slots, routes=routes, extras=EXTRAS)
            return Loaded(upstream, result.config, size_bytes, result.applied, result.ignored)

        return await self._run(
            Load(info.key, instance_id, files.parts, observer, Progress(observer, stage_of), plan, loaded)
        )

    # ---- the engine as such

    async def health(self) -> Health:
        if self._missing is not None:
            return Health(ok=False, kind="engine", detail=self._missing)
        engine, eyes = self._installed.version, self._installed.eyes
        detail = ", ".join(filter(None, (f"{PACKAGE} {engine}", eyes and f"{EYES} {eyes}", self._device)))
        return Health(ok=True, kind="engine", detail=detail, version=engine)
