"""Which of the ways to run llama.cpp runs a model."""

from __future__ import annotations

from lanhaven.errors import GatewayError
from lanhaven.providers.llamacpp.form import Form
from lanhaven.providers.llamacpp.options import AUTO, BINARY, XLLAMACPP, Defaults, Options
from lanhaven.providers.llamacpp.packages import (
    PACKAGES,
    REMEDIES,
    Find,
    LlamaCppPython,
    PackageForm,
    find_packages,
)
from lanhaven.providers.llamacpp.server_program import LlamaServer

PROVIDERS_BINARY = "providers.llama_cpp.binary"


class Forms:
    """What its entry says, else what the provider's settings say, else what is there."""

    def __init__(self, defaults: Defaults, find: Find = find_packages) -> None:
        self._defaults = defaults
        self._servers: dict[tuple[str, tuple[str, ...]], LlamaServer] = {}
        try:
            found, problem = find(defaults.python), None
        except GatewayError as error:
            found, problem = dict.fromkeys(PACKAGES.values()), error.message
        self._packages = {engine: self._package(engine, found[name], problem) for engine, name in PACKAGES.items()}

    @property
    def default(self) -> Form:
        """That of an entry which says nothing of it."""
        said = self._defaults
        return self._choose(said.engine, said.binary, said.args, PROVIDERS_BINARY)

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
            if key not in self._servers or self._servers[key].missing is not None:  # it may be there by now
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
