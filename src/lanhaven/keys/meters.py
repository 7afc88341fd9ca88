"""How much each key asks for: requests and tokens, within the last minute and the last day.

Requests are counted when they are admitted, tokens when they end, for nobody knows before how long an answer will be.
So that requests side by side cannot all pass what is left for one, those under way count as what they may take at most,
where they say it, and else as what the key's requests take on average.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lanhaven.errors import RateLimited
from lanhaven.events import EventBus, Failure, InferenceComplete
from lanhaven.keys.key import UNLIMITED, Limits
from lanhaven.keys.windows import Window

MINUTE, DAY = 60, 86_400
UNKNOWN = 500  # tokens of a request under way, while none of its key's has ended
SOON = 1.0  # seconds after which a request under way may have ended
LONGEST_RETRY = 60.0  # seconds of waiting that a client library may do by itself

Most = Callable[[], int | None]  # tokens that a request may take; None: it does not say


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
    """Of one key. What is counted within a second adds to two numbers; the windows get seconds that are over."""

    __slots__ = (
        "_minute",
        "_requests",
        "_second",
        "_tokens",
        "_until",
        "_unwritten",
        "name",
        "promised",
        "requests_day",
        "requests_minute",
        "running",
        "tokens_day",
        "tokens_minute",
        "unsaid",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.running = 0  # requests under way
        self.unsaid = 0  # of them, those that do not say how many tokens they may take
        self.promised = 0  # tokens that the others may take
        self.requests_minute, self.tokens_minute = Window(1, MINUTE), Window(1, MINUTE)
        self.requests_day, self.tokens_day = Window(MINUTE, DAY // MINUTE), Window(MINUTE, DAY // MINUTE)
        self._second = 0.0  # in which these were counted
        self._until = 0.0  # its end
        self._minute = 0  # the same as a minute of the calendar
        self._requests = self._tokens = 0
        self._unwritten: dict[int, list[int]] = {}

    def count(self, now: float, wall: Callable[[], float], requests: int, tokens: int) -> None:
        """On the hot path, twice a request."""
        if now >= self._until:
            self.settle()
            self._second, self._minute = now // 1, int(wall() // MINUTE)
            self._until = self._second + 1
        self._requests += requests
        self._tokens += tokens

    def settle(self) -> None:
        """Put what was counted into the windows: before they are read."""
        requests, tokens = self._requests, self._tokens
        if requests or tokens:
            self._requests = self._tokens = 0
            self.add(self._second, requests, tokens)
            written = self._unwritten.setdefault(self._minute, [0, 0])
            written[0] += requests
            written[1] += tokens

    def add(self, then: float, requests: int, tokens: int) -> None:
        self.requests_minute.add(then, requests)
        self.tokens_minute.add(then, tokens)
        self.requests_day.add(then, requests)
        self.tokens_day.add(then, tokens)

    def take(self) -> Iterable[Count]:
        """What was counted since the last call."""
        self.settle()
        taken, self._unwritten = self._unwritten, {}
        return (Count(self.name, minute, *amounts) for minute, amounts in taken.items())

    def used(self, now: float) -> Used:
        self.settle()
        return Used(
            self.requests_minute.sum(now),
            self.requests_day.sum(now),
            self.tokens_minute.sum(now),
            self.tokens_day.sum(now),
        )

    def bounds(self, limits: Limits, now: float) -> Iterable[tuple[Window, int | None, str, int]]:
        """Every window with its limit, the words for it, and how much of it is spoken for."""
        self.settle()
        spoken_for = self.promised + (self.unsaid * self._usual(now) if self.unsaid else 0)
        yield self.requests_minute, limits.requests_per_minute, "requests a minute", 0
        yield self.tokens_minute, limits.tokens_per_minute, "tokens a minute", spoken_for
        yield self.requests_day, limits.requests_per_day, "requests a day", 0
        yield self.tokens_day, limits.tokens_per_day, "tokens a day", spoken_for

    def _usual(self, now: float) -> int:
        """Tokens that one request takes, if it is like those of the last day."""
        ended, tokens = self.requests_day.sum(now) - self.running, self.tokens_day.sum(now)
        return tokens // ended if tokens and ended > 0 else UNKNOWN

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
        self._running: dict[str | None, tuple[_Meter, int | None]] = {}  # by request id, with what it may take

    def __repr__(self) -> str:
        return f"Meters({len(self._meters)} keys)"

    def admit(self, name: str, limits: Limits, request_id: str, most: Most) -> None:
        """Count one request. RateLimited if the key has asked for as much as it may: then nothing is counted.

        most: how many tokens it may take; asked where that counts.
        """
        now, meter = self._clock(), self._meters.get(name)
        if meter is None:
            meter = self._meters[name] = _Meter(name)
        promised = None
        if limits is not UNLIMITED:
            meter.check(limits, now)
            promised = most() if limits.of_tokens else None
        meter.count(now, self._wall, 1, 0)
        meter.running += 1
        if promised is None:
            meter.unsaid += 1
        else:
            meter.promised += promised
        self._running[request_id] = meter, promised

    def hear(self, bus: EventBus) -> None:
        """Count the tokens of what ends there from now on."""
        bus.listen(self.ended, InferenceComplete)
        bus.listen(self.ended, Failure)

    def ended(self, event: InferenceComplete | Failure) -> None:
        """Count the tokens of a request that ended, well or not; called by the bus."""
        found = self._running.pop(event.request_id, None)
        if found is None:  # it was not admitted, or is none that counts
            return
        meter, promised = found
        meter.running -= 1
        if promised is None:
            meter.unsaid -= 1
        else:
            meter.promised -= promised
        meter.count(self._clock(), self._wall, 0, event.usage.total_tokens)

    def used(self, name: str) -> Used:
        """What a key has asked for lately."""
        meter = self._meters.get(name)
        return Used() if meter is None else meter.used(self._clock())

    def forget(self, name: str) -> None:
        """Of a key that is gone. What of it is under way counts for nobody."""
        self._meters.pop(name, None)

    def take(self) -> list[Count]:
        """What was counted since the last call, to be written down."""
        return [count for meter in tuple(self._meters.values()) for count in meter.take()]

    def restore(self, counts: Iterable[Count]) -> None:
        """Take up the day where the last run of the server left it. Before anything is counted."""
        now, this_minute = self._clock(), self._wall() // MINUTE
        for each in sorted(counts, key=lambda count: count.minute):
            then = now - max(0.0, this_minute - each.minute) * MINUTE
            meter = self._meters.setdefault(each.name, _Meter(each.name))
            meter.requests_day.add(then, each.requests)
            meter.tokens_day.add(then, each.tokens)


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
