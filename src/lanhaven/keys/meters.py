"""How much each key asks for: requests and tokens, within the last minute and the last day.

Requests are counted when they are admitted, tokens when they end, for nobody knows before how long an answer will be.
So that requests side by side cannot all pass what is left for one, those under way count as what the key's requests
take on average.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lanhaven.errors import RateLimited
from lanhaven.events import Failure, GatewayEvent, InferenceComplete
from lanhaven.keys.key import UNLIMITED, Limits
from lanhaven.keys.windows import Window

MINUTE, DAY = 60, 86_400
UNKNOWN = 500  # tokens of a request under way, while none of its key's has ended
SOON = 1.0  # seconds after which a request under way may have ended
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
    __slots__ = ("name", "requests_day", "requests_minute", "running", "tokens_day", "tokens_minute")

    def __init__(self, name: str) -> None:
        self.name = name
        self.running = 0  # requests under way
        self.requests_minute, self.tokens_minute = Window(1, MINUTE), Window(1, MINUTE)
        self.requests_day, self.tokens_day = Window(MINUTE, DAY // MINUTE), Window(MINUTE, DAY // MINUTE)

    def used(self, now: float) -> Used:
        return Used(
            self.requests_minute.sum(now),
            self.requests_day.sum(now),
            self.tokens_minute.sum(now),
            self.tokens_day.sum(now),
        )

    def bounds(self, limits: Limits, now: float) -> Iterable[tuple[Window, int | None, str, int]]:
        """Every window with its limit, the words for it, and how much of it is spoken for."""
        spoken_for = self._spoken_for(now) if self.running else 0
        yield self.requests_minute, limits.requests_per_minute, "requests a minute", 0
        yield self.tokens_minute, limits.tokens_per_minute, "tokens a minute", spoken_for
        yield self.requests_day, limits.requests_per_day, "requests a day", 0
        yield self.tokens_day, limits.tokens_per_day, "tokens a day", spoken_for

    def _spoken_for(self, now: float) -> int:
        """Tokens that the requests under way will take, if they are like those of the last day."""
        ended, tokens = self.requests_day.sum(now) - self.running, self.tokens_day.sum(now)
        return self.running * (tokens // ended if tokens and ended > 0 else UNKNOWN)

    def check(self, limits: Limits, now: float) -> None:
        """RateLimited if there is no room for one more request."""
        for window, limit, unit, spoken_for in self.bounds(limits, now):
            if limit is not None and window.sum(now) + spoken_for >= limit:
                raise _over(self.name, limit, unit, window.below(now, limit))


class Meters:
    """Counts by name of the key. clock: seconds that only go forward. wall: seconds since the epoch."""

    def __init__(self, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._clock = clock
        self._wall = wall
        self._meters: dict[str, _Meter] = {}
        self._running: dict[str, _Meter] = {}  # by request id
        self._unwritten: dict[tuple[str, int], list[int]] = {}

    def __repr__(self) -> str:
        return f"Meters({len(self._meters)} keys)"

    def admit(self, name: str, limits: Limits, request_id: str) -> None:
        """Count one request. RateLimited if the key has asked for as much as it may: then nothing is counted."""
        now, meter = self._clock(), self._of(name)
        if limits is not UNLIMITED:
            meter.check(limits, now)
        meter.requests_minute.add(now, 1)
        meter.requests_day.add(now, 1)
        meter.running += 1
        self._running[request_id] = meter
        self._write_down(name, 0, 1)

    def listen(self, event: GatewayEvent) -> None:
        """Count the tokens of a request that ended, well or not; called by the bus for every event."""
        if isinstance(event, InferenceComplete | Failure) and event.client is not None and event.request_id is not None:
            meter, tokens = self._running.pop(event.request_id, None), event.usage.total_tokens
            if meter is None:  # it was not admitted, or is none that counts
                return
            meter.running -= 1
            if tokens and self._meters.get(meter.name) is meter:  # not of a key that is gone
                now = self._clock()
                meter.tokens_minute.add(now, tokens)
                meter.tokens_day.add(now, tokens)
                self._write_down(meter.name, 1, tokens)

    def used(self, name: str) -> Used:
        """What a key has asked for lately."""
        meter = self._meters.get(name)
        return Used() if meter is None else meter.used(self._clock())

    def forget(self, name: str) -> None:
        """Of a key that is gone."""
        self._meters.pop(name, None)
        self._unwritten = {which: amounts for which, amounts in self._unwritten.items() if which[0] != name}

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
            meter = self._meters[name] = _Meter(name)
        return meter

    def _write_down(self, name: str, which: int, amount: int) -> None:
        self._unwritten.setdefault((name, int(self._wall() // MINUTE)), [0, 0])[which] += amount


def _over(name: str, limit: int, unit: str, seconds: float) -> RateLimited:
    """seconds: until there is room; 0: as soon as requests under way have ended."""
    most = f"{limit:,} {unit}" if limit > 1 else f"one {unit.replace('s a ', ' a ')}"
    why = "" if seconds else ", and its requests under way may take what is left"
    seconds = seconds or SOON
    return RateLimited(
        f"The key {name} may use {most}{why}: it may ask again in {_spoken(seconds)}.",
        hint="wait, or have the limit raised: lanhaven keys set " + name,
        retry_after=max(1.0, seconds),
        retry=None if seconds <= LONGEST_RETRY else False,
        facts={"limit": limit, "unit": unit},
    )


def _spoken(seconds: float) -> str:
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 7200 else f"{round(seconds / 3600)} h"
