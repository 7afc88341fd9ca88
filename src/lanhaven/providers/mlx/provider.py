"""MLX models (Apple silicon; Linux too): one child process per instance, each on a socket of its own.

docs/mlx.md says what the child is and can do.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from lanhaven.config import engine_environment
from lanhaven.engines.interpreter import installed_in, module_command, module_environment
from lanhaven.engines.llamacpp_log import abort_reason, reason, without_requests
from lanhaven.engines.page_cache import read_through
from lanhaven.engines.probe import Address
from lanhaven.engines.process import EngineProcess, Plan, Timers
from lanhaven.errors import GatewayError, InvalidModelFile, InvalidRequest, LoadFailed, UnsupportedFeature
from lanhaven.providers.base import Health, Loaded, LoadObserver, ModelEntry, ProviderContext, Running
from lanhaven.providers.children import UNIX_SOCKETS, Children, Place, Progress
from lanhaven.providers.mlx.options import Options, read_defaults, read_options
from lanhaven.providers.mlx.plan import (
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
from lanhaven.types.models import LoadConfig, ModelInfo, Sampling, Upstream

WORKER = "lanhaven.engines.mlx.worker"
PACKAGE = "mlx-lm"
REMEDY = "pip install 'lanhaven[mlx]', or name a Python that has it: providers.mlx.python"
FREE_SHARE = 0.8  # of the memory that is available: larger files are not read ahead
# The pool bounds a load, by its sum and by what `observer` is told: a second clock could only contradict it.
TIMERS = Timers(load_total=None, load_stall=None)
_STAGE = re.compile(r" I srv    (?P<stage>loading [a-z ]+?)(?: (?P<share>[01]\.\d\d))?$")


def create(context: ProviderContext) -> MLX:
    return MLX(context)


def find_version(python: Path | None) -> tuple[str | None, str | None]:
    """(version of mlx-lm, None), or (None, why there is none), without importing it."""
    if python is None:
        try:
            return version(PACKAGE), None
        except PackageNotFoundError:
            return None, f"The engine {PACKAGE} is not installed: {REMEDY}"
    try:
        found = installed_in(python, (PACKAGE,), engine_environment({}))[PACKAGE]
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        return None, f"providers.mlx.python cannot be used: {why}."
    return found, None if found else f"The engine {PACKAGE} is not installed for providers.mlx.python: pip install it."


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


class MLX:
    """The provider `mlx`."""

    load_fields = frozenset({"context_length", "slots", "kv_type"})
    sampling_fields = frozenset(Sampling.__dataclass_fields__)

    def __init__(
        self,
        context: ProviderContext,
        *,
        timers: Timers = TIMERS,
        unix_sockets: bool = UNIX_SOCKETS,
        find: Callable[[Path | None], tuple[str | None, str | None]] = find_version,
    ) -> None:
        """InvalidRequest: a setting of the provider is wrong. ProviderUnavailable: its folder's path is too long."""
        self.name = context.name
        self._folder = context.run_dir
        self._defaults = read_defaults(context.options)
        self._timers = replace(timers, terminate=self._defaults.stop_seconds, **self._defaults.probes())
        self._version, self._missing = find(self._defaults.python)
        self._device: str | None = None  # known after the first load
        self._children = Children(context.run_dir, unix_sockets=unix_sockets)

    # ---- models

    def describe(self, entry: ModelEntry) -> ModelInfo:
        try:
            options = read_options(entry.config)
            info = describe(entry.id, self.name, read_files(options), options)
        except (InvalidRequest, InvalidModelFile) as error:
            return ModelInfo(entry.id, self.name, unavailable=self._missing or error.message)
        return replace(info, unavailable=self._missing)

    async def models(self) -> Sequence[ModelInfo]:
        return ()

    def estimate(self, info: ModelInfo, config: LoadConfig) -> int:
        try:
            options = read_options(info.config)
            files = read_files(options)
        except (InvalidRequest, InvalidModelFile):
            return 0  # the load will say what is wrong
        used = effective(files, options, config.over(options.load), self._defaults)
        return memory_needed(files, options, used, self._defaults)

    # ---- instances

    async def load(self, info: ModelInfo, instance_id: str, config: LoadConfig, observer: LoadObserver) -> Loaded:
        if self._missing is not None:
            raise UnsupportedFeature(f"{info.key} needs the engine {PACKAGE}. {self._missing}", hint=REMEDY)
        try:
            options = read_options(info.config)
            files = await asyncio.to_thread(read_files, options)
        except (InvalidRequest, InvalidModelFile) as error:
            message = f"{info.key} could not be loaded: {error.message}"
            raise LoadFailed(message, hint=error.hint, facts=error.facts) from error
        asked = config.over(options.load)
        used = effective(files, options, asked, self._defaults)
        job = _Job(info.key, instance_id, files, options, asked, used, Progress(observer, stage_of), observer)
        room = int(psutil.virtual_memory().available * FREE_SHARE)
        await read_through(files.parts, room, lambda fraction: job.progress.stage("reading", fraction))
        job.progress.stage("starting")
        place = self._children.place()
        return await self._children.start(
            instance_id,
            info.key,
            observer,
            lambda gone: self._process(job, place, gone),
            lambda process, ready, size: self._loaded(job, process, place, ready, size),
        )

    def _process(self, job: _Job, place: Place, gone: Callable[[GatewayError], None]) -> EngineProcess:
        settings = child_settings(job.key, job.files, job.options, job.used, self._defaults)
        settings |= {"api_key": place.key, "listen": place.listen}
        python = self._defaults.python
        environment = module_environment(engine_environment({}), python=python)
        command = module_command(WORKER, python=python)
        return EngineProcess(
            Plan(job.key, command, settings, environment, self._folder, place.key, place.address),
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
        device = ready["devices"][0]
        self._device = f"{device['description']} ({device['type']})"
        address = process.address or Address()
        result = outcome(job.asked, job.used, job.files, job.options, ready)
        upstream = Upstream(
            model=job.key,
            base_url=address.base_url,
            socket=address.socket,
            headers=place.headers,
            slots=result.config.slots,
            routes=ROUTES,
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
        if self._missing is not None:
            return Health(ok=False, kind="engine", detail=self._missing)
        detail = ", ".join(filter(None, (f"{PACKAGE} {self._version}", self._device)))
        return Health(ok=True, kind="engine", detail=detail, version=self._version)

    async def aclose(self) -> None:
        await self._children.aclose()

    def __repr__(self) -> str:
        return f"MLX({self._children!r})"


def stage_of(line: str) -> tuple[str, float | None] | None:
    """The stage that a line of the worker's log tells, with the share of the weights that are loaded."""
    found = _STAGE.search(line)
    if found is None:
        return None
    return found["stage"], float(found["share"]) if found["share"] else None
