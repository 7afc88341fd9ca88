"""How much each key asks for: requests and tokens, within the last minute and the last day."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lanhaven.errors import RateLimited
from lanhaven.events import GatewayEvent, InferenceComplete
from lanhaven.keys.key import UNLIMITED, Limits
from lanhaven.keys.windows import Window

MINUTE, DAY = 60, 86_400
LONGEST_RETRY = 60.0  # seconds of waiting that a client library may do by itself


@dataclass(frozen=True, slots=True)
class Used:
    """What was asked for within the windows that run."""

    requests_per_minute: int = 0
    requests_per_day: int = 0
    tokens_per_minute: int = 0
    tokens_per_day: int = 0


@dataclass(frozen=True, slots=True)
class Count:
    """What one key asked for within one minute of the calendar (of the epoch): as it is written down."""

    name: str
    minute: int
    requests: int
    tokens: int


class _Meter:
    __slots__ = ("requests_day", "requests_minute", "tokens_day", "tokens_minute")

    def __init__(self) -> None:
        self.requests_minute, self.tokens_minute = Window(1, MINUTE), Window(1, MINUTE)
        self.requests_day, self.tokens_day = Window(MINUTE, DAY // MINUTE), Window(MINUTE, DAY // MINUTE)

    def used(self, now: float) -> Used:
        return Used(
            self.requests_minute.sum(now),
            self.requests_day.sum(now),
            self.tokens_minute.sum(now),
            self.tokens_day.sum(now),
        )

    def bounds(self, limits: Limits) -> Iterable[tuple[Window, int | None, str]]:
        """Every window with its limit, and the words for it."""
        yield self.requests_minute, limits.requests_per_minute, "requests a minute"
        yield self.tokens_minute, limits.tokens_per_minute, "tokens a minute"
        yield self.requests_day, limits.requests_per_day, "requests a day"
        yield self.tokens_day, limits.tokens_per_day, "tokens a day"


class Meters:
    """Counts by name of the key. clock: seconds that only go forward. wall: seconds since the epoch."""

    def __init__(self, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._clock = clock
        self._wall = wall
        self._meters: dict[str, _Meter] = {}
        self._unwritten: dict[tuple[str, int], list[int]] = {}

    def __repr__(self) -> str:
        return f"Meters({len(self._meters)} keys)"

    def admit(self, name: str, limits: Limits) -> None:
        """Count one request. RateLimited if the key has asked for as much as it may: then nothing is counted."""
        now, meter = self._clock(), self._of(name)
        for window, limit, unit in meter.bounds(limits) if limits is not UNLIMITED else ():
            if limit is not None and window.sum(now) >= limit:
                raise _over(name, limit, unit, window.below(now, limit))
        meter.requests_minute.add(now, 1)
        meter.requests_day.add(now, 1)
        self._write_down(name, 0, 1)

    def listen(self, event: GatewayEvent) -> None:
        """Count the tokens of a request that ended well; called by the bus for every event."""
        if isinstance(event, InferenceComplete) and event.client is not None and event.usage.total_tokens:
            now, meter, tokens = self._clock(), self._of(event.client), event.usage.total_tokens
            meter.tokens_minute.add(now, tokens)
            meter.tokens_day.add(now, tokens)
            self._write_down(event.client, 1, tokens)

    def used(self, name: str) -> Used:
        """What a key has asked for lately."""
        meter = self._meters.get(name)
        return Used() if meter is None else meter.used(self._clock())

    def forget(self, name: str) -> None:
        """Of a key that is gone."""
        self._meters.pop(name, None)

    def take(self) -> list[Count]:
        """What was counted since the last call, to be written down."""
        taken, self._unwritten = self._unwritten, {}
        return [Count(name, minute, *amounts) for (name, minute), amounts in taken.items()]

    def restore(self, counts: Iterable[Count]) -> None:
        """Take up the day where the last run of the server left it. Before anything is counted."""
        now, this_minute = self._clock(), self._wall() // MINUTE
        for each in sorted(counts, key=lambda count: count.minute):
            then = now - max(0.0, this_minute - each.minute) * MINUTE
            meter = self._of(each.name)
            meter.requests_day.add(then, each.requests)
            meter.tokens_day.add(then, each.tokens)

    def _of(self, name: str) -> _Meter:
        meter = self._meters.get(name)
        if meter is None:
            meter = self._meters[name] = _Meter()
        return meter

    def _write_down(self, name: str, which: int, amount: int) -> None:
        self._unwritten.setdefault((name, int(self._wall() // MINUTE)), [0, 0])[which] += amount


def _over(name: str, limit: int, unit: str, seconds: float) -> RateLimited:
    most = f"{limit:,} {unit}" if limit > 1 else f"one {unit.replace('s a ', ' a ')}"
    return RateLimited(
        f"The key {name} may use {most}: it may ask again in {_spoken(seconds)}.",
        hint="wait, or have the limit raised: lanhaven keys set " + name,
        retry_after=max(1.0, seconds),
        retry=None if seconds <= LONGEST_RETRY else False,
        facts={"limit": limit, "unit": unit},
    )


def _spoken(seconds: float) -> str:
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 7200 else f"{round(seconds / 3600)} h"
