"""llama.cpp by a package of Python: xllamacpp, or llama-cpp-python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from lanhaven.config import engine_environment
from lanhaven.engines.interpreter import installed_in, module_command, module_environment
from lanhaven.engines.llamacpp_log import LAST_LINE, LAST_STAGE, facts
from lanhaven.engines.process import EngineProcess, Plan, Timers
from lanhaven.errors import GatewayError, ProviderUnavailable, UnsupportedFeature
from lanhaven.providers.children import Place
from lanhaven.providers.llamacpp.form import Form
from lanhaven.providers.llamacpp.options import LLAMA_CPP_PYTHON, XLLAMACPP
from lanhaven.providers.llamacpp.plan import ROUTES, Files
from lanhaven.types.models import ModelInfo, ModelKind

PACKAGES: Mapping[str, str] = MappingProxyType({XLLAMACPP: "xllamacpp", LLAMA_CPP_PYTHON: "llama-cpp-python"})
REMEDIES: Mapping[str, str] = MappingProxyType(
    {XLLAMACPP: "pip install 'lanhaven[llamacpp]'", LLAMA_CPP_PYTHON: "pip install llama-cpp-python"}
)
DEVICES_SECONDS = 30.0  # a GPU runtime takes some

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
