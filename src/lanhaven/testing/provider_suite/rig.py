"""How a provider is started for the suite, and what has no meaning for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from lanhaven.providers.base import ModelEntry, Provider, ProviderContext
from lanhaven.testing.provider_suite.engines import ChildProcesses, Engines
from lanhaven.types.models import LoadConfig


class Lack(StrEnum):
    """What has no meaning for a provider. `Rig.lacks` says why; the suite checks what follows in its place."""

    MEMORY = "memory"  # its models lie in no memory of this machine: estimates are 0
    LOADING = "loading"  # a load sends nothing, so nothing is held, nothing can be given up, and a request finds faults
    COPIES = "copies"  # its server holds a model once: two instances of ours are one there
    CRASH = "crash"  # nobody tells it that an engine ended: a request finds out
    HANG = "hang"  # nobody tells it that an engine hangs: a request is ended by its own clock
    LOGS = "logs"  # what its engine writes is not ours to read: no lines


@dataclass(frozen=True, kw_only=True)
class Rig:
    """One provider. What is left out fits an engine that runs as a child process, started by the provider itself.

    create: the provider's factory.
    options: its block under `providers:` in config.yaml.
    entry: a model that chats. broken: one that cannot be loaded (or asked, where a load sends nothing).
    others: models that do not chat: for embeddings, for reranking.
    slow: one whose load takes a while, to be given up; the same as `entry` if not said.
    asked: the load config; every field of it must come back as applied or as ignored.
    endless: fields of a chat request whose answer would last longer than `patience`.
    secrets: texts in `entry` or `options` that must show nowhere.
    engines: what the provider drives, past the provider.
    lacks: what has no meaning for it, and why.
    patience: seconds that nothing here comes near.
    """

    create: Callable[[ProviderContext], Provider]
    entry: ModelEntry
    broken: ModelEntry
    others: tuple[ModelEntry, ...] = ()
    slow: ModelEntry | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    asked: LoadConfig = LoadConfig(context_length=2048, slots=1, cpu_threads=2)
    endless: Mapping[str, Any] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    engines: Engines = field(default_factory=ChildProcesses)
    lacks: Mapping[Lack, str] = field(default_factory=dict)
    patience: float = 20.0

    def context(self, run_dir: Path) -> ProviderContext:
        """What the factory gets."""
        return ProviderContext(self.entry.provider, run_dir, self.options)
