"""A way to run llama.cpp. All take the same settings (plan.child_settings), and each says them to its engine in its own
way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from lanhaven.engines.llamacpp_log import facts
from lanhaven.engines.process import Plan, Timers
from lanhaven.errors import GatewayError, ProviderUnavailable
from lanhaven.providers.base import Ignored
from lanhaven.providers.children import Place
from lanhaven.providers.llamacpp.plan import EXTRAS, ROUTES, Files
from lanhaven.types.models import ModelInfo, ModelKind


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
