"""How often each model is wanted of late, and whether it was sent away too early: what an eviction would cost."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

MEMORY = 1800.0  # seconds after which a use counts 1/e of a new one
SPELL = 60.0  # what is wanted all the time counts one use a minute: one load would have served them all
RETURN = 0.3  # how much a use just now says; from 0.1 to 2 a simulated day takes the same number of loads, within 5 %
SOON = 60.0  # who is wanted again so soon after it made room was needed still
LONGEST_STAY = 30.0


@dataclass(slots=True)
class Habit:
    """Of one model, over all its instances. All times are monotonic seconds."""

    uses: float = 0.0
    counted: float = -math.inf
    evicted: float = -math.inf

    def used(self, now: float) -> None:
        """A request got it. On the hot path of every request."""
        self.uses, self.counted = self._faded(now) + min(1.0, (now - self.counted) / SPELL), now

    def rate(self, now: float, last_used: float) -> float:
        """Uses a second that are to be expected of an instance: as many as of late, and more, the shorter ago its last
        one was. People come back after pauses of all lengths: the chance fades as 1 / t (Barabasi, Nature 435, 207)."""
        return self._faded(now) / MEMORY + RETURN / (1.0 + now - last_used)

    def came_back(self, now: float) -> bool:
        """Whether it is wanted again soon after it had to make room."""
        return now < self.evicted + SOON

    def _faded(self, now: float) -> float:
        return self.uses * math.exp(-(now - self.counted) / MEMORY) if self.uses else 0.0


class Habits(defaultdict[str, Habit]):
    """By model key. As many as there are models; what is not in use is small."""

    def __init__(self) -> None:
        super().__init__(Habit)


def stay(reload_seconds: float) -> float:
    """How long one that came back stays at least: as long as it took to bring it, within reason. So a machine spends no
    more than about half its time with loading, whatever is asked of it."""
    return min(LONGEST_STAY, reload_seconds)
