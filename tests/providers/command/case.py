"""A provider of programs in a folder of its own, and what an observer of its loads hears."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lanhaven.engines.process import Timers
from lanhaven.providers.base import Loaded, ModelEntry, ProviderContext
from lanhaven.providers.command.provider import CommandProvider, free_port
from lanhaven.types.models import LoadConfig, ModelInfo

PROGRAM = [sys.executable, "-P", str(Path(__file__).with_name("program.py"))]
QUICK = Timers(load_total=None, load_stall=None, probe_every=0.1, probe_timeout=60, reap=60)


class Observer:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, float | None]] = []
        self.errors: list[Exception] = []
        self.told = asyncio.Event()

    def progress(self, stage: str, fraction: float | None = None) -> None:
        self.stages.append((stage, fraction))

    def gone(self, error: Exception) -> None:
        self.errors.append(error)
        self.told.set()


def config(
    *behaviours: str, listen: str = "${SOCKET}", env: dict[str, Any] | None = None, **said: Any
) -> dict[str, Any]:
    """Settings of a model that program.py serves."""
    variables = {"LISTEN": listen, "BEHAVE": " ".join(behaviours), **(env or {})}
    return {"command": PROGRAM, "env": variables, "stop_seconds": 2, "start_timeout": 20, **said}


class Case:
    """The provider, and loads of it."""

    def __init__(self, folder: Path, *, ports: Callable[[], int] = free_port) -> None:
        self.provider = CommandProvider(ProviderContext("command", folder), timers=QUICK, ports=ports)
        self.observer = Observer()

    def described(self, config: dict[str, Any]) -> ModelInfo:

        return replace(self.provider.describe(ModelEntry("big", "command", config=config)), config=config)

    async def load(self, config: dict[str, Any], asked: LoadConfig | None = None) -> Loaded:
        return await self.provider.load(self.described(config), "big", asked or LoadConfig(), self.observer)
