"""The ways to run llama.cpp: the package xllamacpp, the package llama-cpp-python, or a llama-server of somebody's own.

All take the same settings (plan.child_settings), and each says them to its engine in its own way.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from lanhaven.config import engine_environment
from lanhaven.engines import llama_server
from lanhaven.engines.interpreter import installed_in, module_command, module_environment
from lanhaven.engines.llamacpp_log import LAST_LINE, LAST_STAGE, facts
from lanhaven.engines.process import EngineProcess, Plan, Timers
from lanhaven.errors import GatewayError, ProviderUnavailable, UnsupportedFeature
from lanhaven.providers.base import Ignored
from lanhaven.providers.children import Place
from lanhaven.providers.llamacpp.options import AUTO, BINARY, LLAMA_CPP_PYTHON, XLLAMACPP, Defaults, Options
from lanhaven.providers.llamacpp.plan import EXTRAS, ROUTES, Files
from lanhaven.types.models import ModelInfo, ModelKind

PACKAGES: Mapping[str, str] = MappingProxyType({XLLAMACPP: "xllamacpp", LLAMA_CPP_PYTHON: "llama-cpp-python"})
REMEDIES: Mapping[str, str] = MappingProxyType(
    {XLLAMACPP: "pip install 'lanhaven[llamacpp]'", LLAMA_CPP_PYTHON: "pip install llama-cpp-python"}
)
PROVIDERS_BINARY = "providers.llama_cpp.binary"
DEVICES_SECONDS = 30.0  # a GPU runtime takes some
CPU: Mapping[str, Any] = MappingProxyType({"name": "CPU", "description": "CPU", "type": "CPU", "memory_total": 0})
# Settings as the admin API calls them.
_CALLED: Mapping[str, str] = MappingProxyType(
    {
        "n_gpu_layers": "gpu.layers",
        "rope_freq_base": "ropeFrequencyBase",
        "rope_freq_scale": "ropeFrequencyScale",
        "flash_attention": "flashAttention",
        "kv_type": "kvType",
        "threads": "cpuThreads",
    }
)

Find = Callable[[Path | None], Mapping[str, str | None]]


def find_packages(python: Path | None) -> Mapping[str, str | None]:
    """The versions of the engines' packages, None for those that are not installed, without importing them.
    ProviderUnavailable: `python` is no interpreter that can be used."""
    if python is None:
        return {package: _version(package) for package in PACKAGES.values()}
    try:
        return installed_in(python, tuple(PACKAGES.values()), engine_environment({}))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ProviderUnavailable(f"providers.llama_cpp.python cannot be used: {why}.") from error


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


class Form(ABC):
    """One of the ways.

    name: of the program, for people. why: why it is this one that runs. missing: why it cannot be used here, None = it
    can; remedy: what to do about that. devices: what it can compute on, None = not known yet.
    broken: why it cannot even start.
    """

    extras: ClassVar[frozenset[str]] = EXTRAS
    most_slots: ClassVar[int | None] = None
    keeps_connections: ClassVar[bool] = False  # after a streamed reply

    def __init__(
        self, name: str, why: str, version: str | None = None, *, missing: str | None = None, remedy: str
    ) -> None:
        self.name, self.why, self.version = name, why, version
        self.missing, self.remedy = missing, remedy
        self.devices: Sequence[Mapping[str, Any]] | None = None
        self.broken: str | None = None

    def absent(self, key: str) -> GatewayError:
        """What a load gets where it is missing."""
        return ProviderUnavailable(f"{key} cannot be loaded: {self.missing}", hint=self.remedy, retry=False)

    def routes(self, kind: ModelKind) -> frozenset[str]:
        return ROUTES[kind]

    def refuses(self, files: Files) -> str | None:
        """Why it cannot run this model; None = it can."""
        return None

    def shown(self, info: ModelInfo) -> ModelInfo:
        """`info` with the abilities that the model has with this engine."""
        return info

    async def prepare(self) -> None:
        """Before each load. ProviderUnavailable: it cannot be used."""
        return

    @abstractmethod
    async def ask(self, folder: Path, timers: Timers) -> None:
        """Learn the devices. GatewayError: it cannot be started."""

    @abstractmethod
    def plan(self, key: str, settings: Mapping[str, object], place: Place, folder: Path) -> Plan: ...

    def told(self, ready: Mapping[str, Any], log: Sequence[str]) -> Mapping[str, Any]:
        """The values that the engine says it uses, by LoadConfig field name."""
        return facts(log)

    def ignored(self, settings: Mapping[str, object]) -> list[Ignored]:
        """What of the settings it has no words for."""
        return []

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name} {self.version})"


class PackageForm(Form):
    """A package of Python, run by a worker of ours."""

    worker: ClassVar[str] = "lanhaven.engines.llamacpp_worker"
    last_line: ClassVar[str | None] = LAST_LINE
    last_stage: ClassVar[str | None] = LAST_STAGE

    def __init__(
        self, name: str, why: str, found: str | None, missing: str | None, python: Path | None, remedy: str
    ) -> None:
        super().__init__(name, why, found, missing=missing, remedy=remedy)
        self._python = python

    def absent(self, key: str) -> GatewayError:
        return UnsupportedFeature(f"{key} needs the engine {self.name}: {self.missing}", hint=self.remedy)

    def plan(self, key: str, settings: Mapping[str, object], place: Place, folder: Path) -> Plan:
        told = {**settings, "api_key": place.key, "listen": place.listen}
        return replace(self._plan(key, told, folder), key=place.key, address=place.address)

    def _plan(self, key: str, settings: Mapping[str, object], folder: Path) -> Plan:
        command = module_command(self.worker, python=self._python)
        env = module_environment(engine_environment({}), python=self._python)
        return Plan(key, command, settings, env, folder, last_line=self.last_line, last_stage=self.last_stage)

    async def ask(self, folder: Path, timers: Timers) -> None:
        """A child that lives a tenth of a second: the gateway itself never loads native code of an engine."""
        child = EngineProcess(
            self._plan("llama.cpp", {"only_devices": True}, folder),
            timers=replace(timers, load_total=DEVICES_SECONDS),
        )
        try:
            ready = await child.start()
            self.devices = self.devices or ready["devices"]
        finally:
            await child.stop()


class LlamaCppPython(PackageForm):
    """One request after the other, text only; its HTTP side is ours."""

    worker = "lanhaven.engines.llama_python.worker"
    last_line = "srv    listening"
    last_stage = None
    most_slots = 1
    keeps_connections = True
    extras = frozenset({"return_progress", "verbose", "chat_template_kwargs", "grammar", "json_schema"})

    def routes(self, kind: ModelKind) -> frozenset[str]:
        return ROUTES[kind] - {"/infill", "/metrics"}

    def refuses(self, files: Files) -> str | None:
        what = "projectors" if files.projector is not None else "rerankers"
        if files.projector is None and files.kind is not ModelKind.RERANKER:
            return None
        return f"with llama-cpp-python {what} are not supported here: use engine xllamacpp, or a llama-server (binary)."

    def shown(self, info: ModelInfo) -> ModelInfo:
        """It has no parser for each template's own form of calls: tools are told in words, calls held to a schema."""
        return replace(info, capabilities=info.capabilities - {"tools"})

    def told(self, ready: Mapping[str, Any], log: Sequence[str]) -> Mapping[str, Any]:
        return {**facts(log), **ready["facts"]}


class LlamaServer(Form):
    """A program with llama-server's command line; `setting`: what names it."""

    def __init__(self, program: str, args: Sequence[str], setting: str, why: str) -> None:
        self._setting, self._args = setting, tuple(args)
        self._env = engine_environment({})
        self._path = llama_server.find(program, self._env.get("PATH"))
        missing = f"{setting}: there is no program {Path(program).name!r} that can be run."
        remedy = f"correct {setting}: a llama-server that runs, built for this machine"
        super().__init__("llama-server", why, missing=missing if self._path is None else None, remedy=remedy)
        self._flags: frozenset[str] = frozenset()
        self._seen: object = None  # the file as it was when it was asked

    async def ask(self, folder: Path, timers: Timers) -> None:
        await self.prepare()

    async def prepare(self) -> None:
        """ProviderUnavailable names the setting (F-014). Another build in its place is asked anew."""
        try:
            if self._path is None:
                raise ValueError("there is none")
            state = self._path.stat()
            if self._seen != (seen := (state.st_mtime_ns, state.st_size, state.st_ino)):
                said = await asyncio.to_thread(llama_server.ask, str(self._path), self._env)
                self._seen, self._flags, self.version = seen, said.flags, said.version or None
                self.devices = (CPU, *said.devices)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise ProviderUnavailable(
                f"The llama-server of {self._setting} cannot be used: {why}.",
                hint=self.remedy,
                retry=False,
            ) from None

    def plan(self, key: str, settings: Mapping[str, object], place: Place, folder: Path) -> Plan:
        words, _ = llama_server.arguments({**settings, "listen": place.listen}, self._flags)
        env = {**self._env, llama_server.KEY_VARIABLE: place.key}
        if settings.get("chat_template") and not settings.get("chat_template_path"):
            env["LLAMA_ARG_CHAT_TEMPLATE"] = str(settings["chat_template"])
        address = place.address
        told = {
            "command": [str(self._path), *words, *self._args],
            "env": env,
            "cwd": str(folder),
            "socket": address.socket if address is not None else None,
            "port": 0,
            "health": "/health",
            "key": place.key,
            "start_timeout": None,
        }
        command = module_command("lanhaven.engines.command_worker")
        environment = module_environment(self._env)
        return Plan(key, command, told, environment, folder, place.key, address, last_line="listening on")

    def ignored(self, settings: Mapping[str, object]) -> list[Ignored]:
        _, unknown = llama_server.arguments(settings, self._flags)
        return [
            Ignored(_CALLED[name], "this build of llama-server has no option for it")
            for name in unknown
            if name in _CALLED
        ]


class Forms:
    """Which of them runs a model: what its entry says, else what the provider's settings say, else what is there."""

    def __init__(self, defaults: Defaults, find: Find = find_packages) -> None:
        self._defaults = defaults
        self._servers: dict[tuple[str, tuple[str, ...]], LlamaServer] = {}
        try:
            found, problem = find(defaults.python), None
        except GatewayError as error:
            found, problem = dict.fromkeys(PACKAGES.values()), error.message
        self._packages = {engine: self._package(engine, found[name], problem) for engine, name in PACKAGES.items()}
        self.default = self._choose(defaults.engine, defaults.binary, defaults.args, PROVIDERS_BINARY)

    def of(self, options: Options) -> Form:
        """That of a model's entry."""
        if options.binary is None and options.engine is None and not options.args:
            return self.default
        engine = options.engine or (BINARY if options.binary or options.args else AUTO)
        args = options.args or self._defaults.args
        if options.binary is not None:
            return self._choose(engine, options.binary, args, "config.binary")
        return self._choose(engine, self._defaults.binary, args, PROVIDERS_BINARY)

    def _choose(self, engine: str, binary: str | None, args: tuple[str, ...], setting: str) -> Form:
        if engine == BINARY or (engine == AUTO and binary is not None):
            program = binary or "llama-server"
            key = (program, args)
            if key not in self._servers:
                why = f"{setting}: {program}" if binary else "engine: binary"
                self._servers[key] = LlamaServer(program, args, setting, why)
            return self._servers[key]
        if engine != AUTO:
            return self._packages[engine]
        there = (form for form in self._packages.values() if form.missing is None)
        return next(there, self._packages[XLLAMACPP])

    def _package(self, engine: str, found: str | None, problem: str | None) -> PackageForm:
        name = PACKAGES[engine]
        missing = problem or (None if found else f"The engine {name} is not installed: {REMEDIES[engine]}")
        usual = "installed" if engine == XLLAMACPP else f"installed, and {PACKAGES[XLLAMACPP]} is not"
        why = f"engine: {engine}" if self._defaults.engine == engine else usual
        form = PackageForm if engine == XLLAMACPP else LlamaCppPython
        return form(name, why, found, missing, self._defaults.python, REMEDIES[engine])
