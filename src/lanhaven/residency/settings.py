"""The figures that bound a pool."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """Counts and seconds. Raises ValueError for figures that no pool can work with.

    max_automatic: how many instances loaded because a request asked may be in memory at once, those loading counted.
    queue_depth: how many requests may wait for one instance (for a slot, or until it is loaded).
    idle_ttl: seconds without a request that end an automatic instance, if its load config is silent; 0 = never.
    drain_timeout: how long an unload waits for running requests.
    room_wait: how long an explicit load waits for room, where its caller does not say.
    load_timeout, load_stall: longest load, and longest time within it without any progress.
    unload_timeout: how long a provider may take to end an instance before the books are closed over it.
    patience: how long a load waits for busy instances before these are held (take no new requests) in its favour.
    breaker_failures within breaker_window stop loading a model for breaker_pause.
    """

    max_automatic: int = 2
    queue_depth: int = 64
    idle_ttl: float = 0.0
    drain_timeout: float = 30.0
    room_wait: float = 60.0
    load_timeout: float = 600.0
    load_stall: float = 300.0
    unload_timeout: float = 30.0
    patience: float = 10.0
    breaker_failures: int = 3
    breaker_window: float = 60.0
    breaker_pause: float = 30.0

    def __post_init__(self) -> None:
        if self.max_automatic < 1:
            raise ValueError("max_automatic must be at least 1")
        if self.queue_depth < 0:
            raise ValueError("queue_depth must not be negative")
