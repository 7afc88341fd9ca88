"""Settings of a provider whose instances are children: what it uses where nobody says anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from lanhaven.engines.process import Timers
from lanhaven.providers.settings import Reader, integer, seconds, some_seconds

# The pool bounds a load, by its sum and by what its observer is told: a second clock could only contradict it.
TIMERS = Timers(load_total=None, load_stall=None)


@dataclass(frozen=True, slots=True)
class Defaults:
    """Called as in config.yaml. engine_stop: seconds from SIGTERM to SIGKILL.

    probe_*: how often a child is asked whether it lives, for how long, and how often it may be silent (see Timers).
    """

    default_slots: int = 4
    prompt_cache_mib: int = 256
    engine_stop: float = 10.0
    probe_every: float | None = None
    probe_timeout: float | None = None
    probe_misses: int | None = None

    def timers(self, timers: Timers = TIMERS) -> Timers:
        """`timers` with what was said."""
        probes = {
            "probe_every": self.probe_every,
            "probe_timeout": self.probe_timeout,
            "probe_misses": self.probe_misses,
        }
        said: dict[str, Any] = {name: value for name, value in probes.items() if value is not None}
        return replace(timers, terminate=self.engine_stop, **said)


@dataclass(frozen=True, slots=True)
class EngineDefaults(Defaults):
    """Of a provider that knows how its engine loads a model."""

    context_length: int = 8192


READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "default_slots": integer(1),
        "prompt_cache_mib": integer(0),
        "engine_stop": seconds,
        "probe_every": some_seconds,
        "probe_timeout": some_seconds,
        "probe_misses": integer(1),
    }
)
ENGINE_READERS: Mapping[str, Reader] = MappingProxyType({"context_length": integer(1), **READERS})
