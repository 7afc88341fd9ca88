"""A day in a house with six models, as it might be asked for them; and what plain LRU with two places would have loaded.

The trace is made of what people and programs do, each with a seed of its own: talks and agents in bursts, a voice
assistant and a camera at random, a search that turns an embedding and a chat model about, a batch at night that does the
same with the largest model. Seconds since midnight.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lanhaven.types.models import ModelInfo

HOUR = 3600.0
DAY = 24 * HOUR
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: when it comes, for which model, and how long its answer takes."""

    at: float
    key: str
    seconds: float


# GiB x 10, and a load takes a second to start and 0.8 GiB/s from the disk
SIZES = {"chat": 60, "coder": 100, "embed": 4, "vision": 70, "voice": 25, "large": 190}


def load_seconds(key: str) -> float:
    return 1.0 + SIZES[key] / 8


def models() -> dict[str, ModelInfo]:
    return {key: ModelInfo(key, "scripted", size_bytes=tenths * 1024 * MIB // 10) for key, tenths in SIZES.items()}


def day(seed: int) -> list[Ask]:
    """All requests of a day, by time."""
    parts = (_talks, _agents, _searches, _voice, _camera, _night, _reports)
    asks = [ask for number, part in enumerate(parts) for ask in part(random.Random(f"{seed}-{number}"))]
    return sorted((ask for ask in asks if 0 <= ask.at < DAY), key=lambda ask: ask.at)


def _poisson(draw: random.Random, first: float, last: float, every: float) -> Iterator[float]:
    at = first + draw.expovariate(1 / every)
    while at < last:
        yield at
        at += draw.expovariate(1 / every)


def _burst(draw: random.Random, at: float, key: str, turns: int, gap: float, seconds: float) -> Iterator[Ask]:
    for _ in range(turns):
        length = draw.uniform(0.5, 1.5) * seconds
        yield Ask(at, key, length)
        at += length + draw.expovariate(1 / gap)


def _talks(draw: random.Random) -> Iterator[Ask]:
    """People chat: 3 to 12 turns, half a minute to read and to write."""
    for at in _poisson(draw, 8 * HOUR, 23 * HOUR, 900.0):
        yield from _burst(draw, at, "chat", draw.randint(3, 12), 30.0, 8.0)


def _agents(draw: random.Random) -> Iterator[Ask]:
    """A coding agent works for a while: many requests, one right after the other."""
    for at in _poisson(draw, 9 * HOUR, 18 * HOUR, 2400.0):
        yield from _burst(draw, at, "coder", draw.randint(10, 60), 4.0, 10.0)


def _searches(draw: random.Random) -> Iterator[Ask]:
    """Each question is embedded, then answered by the chat model."""
    for at in _poisson(draw, 8 * HOUR, 22 * HOUR, 600.0):
        for turn in range(draw.randint(1, 4)):
            asked = at + turn * draw.uniform(20.0, 60.0)
            yield Ask(asked, "embed", 0.1)
            yield Ask(asked + 0.5, "chat", draw.uniform(4.0, 12.0))


def _voice(draw: random.Random) -> Iterator[Ask]:
    """The house listens: a sentence every few minutes, more in the morning and in the evening."""
    for first, last, every in ((6, 9, 240.0), (9, 17, 900.0), (17, 23, 240.0)):
        for at in _poisson(draw, first * HOUR, last * HOUR, every):
            yield from _burst(draw, at, "voice", draw.randint(1, 2), 6.0, 1.5)


def _camera(draw: random.Random) -> Iterator[Ask]:
    """Somebody is at the door: a few pictures."""
    for at in _poisson(draw, 0.0, DAY, 2400.0):
        yield from _burst(draw, at, "vision", draw.randint(1, 3), 5.0, 4.0)


def _night(draw: random.Random) -> Iterator[Ask]:
    """From two o'clock 150 documents are summed up and embedded, one after the other."""
    at = 2 * HOUR
    for _ in range(150):
        length = draw.uniform(20.0, 40.0)
        yield Ask(at, "large", length)
        yield Ask(at + length, "embed", 0.5)
        at += length + draw.uniform(1.0, 3.0)


def _reports(draw: random.Random) -> Iterator[Ask]:
    """Now and then somebody wants the best answer there is."""
    for at in _poisson(draw, 9 * HOUR, 22 * HOUR, 2.5 * HOUR):
        yield from _burst(draw, at, "large", draw.randint(1, 3), 60.0, 40.0)


class LruTwo:
    """Plain LRU with two places: a request waits until its model is there; the idle one that was used least recently
    goes for it, at once. Who waits for a place is served in order of arrival. A load is for all who want it meanwhile.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ready: OrderedDict[str, asyncio.Event] = OrderedDict()  # least recently used first
        self._busy: dict[str, int] = dict.fromkeys(SIZES, 0)
        self._changed = asyncio.Condition()
        self._line: list[object] = []
        self.loads: list[str] = []

    async def use(self, key: str, seconds: float) -> None:
        self._busy[key] += 1
        try:
            if key not in self._ready:
                await self._bring(key)
            self._ready.move_to_end(key)
            await self._ready[key].wait()
            self._ready.move_to_end(key)
            await asyncio.sleep(seconds)
        finally:
            self._busy[key] -= 1
            async with self._changed:
                self._changed.notify_all()

    async def _bring(self, key: str) -> None:
        ticket = object()
        self._line.append(ticket)
        async with self._changed:
            await self._changed.wait_for(lambda: key in self._ready or (self._line[0] is ticket and self._place()))
            self._line.remove(ticket)
            if key in self._ready:
                self._changed.notify_all()
                return
            if len(self._ready) == 2:
                del self._ready[next(name for name in self._ready if not self._busy[name])]
            self._ready[key] = asyncio.Event()
            self._changed.notify_all()
        self.loads.append(key)
        await asyncio.sleep(load_seconds(key))
        self._ready[key].set()

    def _place(self) -> bool:
        return len(self._ready) < 2 or any(not self._busy[name] for name in self._ready)


def lru_of_the_list(asks: list[Ask]) -> int:
    """Loads of LRU with two places that takes no time at all."""
    there: OrderedDict[str, None] = OrderedDict()
    loads = 0
    for ask in asks:
        if ask.key not in there:
            loads += 1
            if len(there) == 2:
                there.popitem(last=False)
        there[ask.key] = None
        there.move_to_end(ask.key)
    return loads
