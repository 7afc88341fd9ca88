"""Counting what happened within the last minute, or the last day. Pure: whoever counts says what time it is."""

from __future__ import annotations

from collections import deque


class Window:
    """A sum over the last `count` buckets of `width` seconds and the one that runs: never less than all that happened
    within `count * width` seconds, and at most one bucket more. An addition costs the same however much was counted.
    """

    __slots__ = ("_buckets", "_count", "_width", "total")

    def __init__(self, width: int, count: int) -> None:
        self._width = width
        self._count = count
        self._buckets: deque[list[int]] = deque()  # [number of the bucket, amount], oldest first
        self.total = 0

    def __repr__(self) -> str:
        return f"Window({self.total} in {self._width * self._count} s)"

    def add(self, now: float, amount: int) -> None:
        """Count `amount`; `now` never goes back."""
        self.total += amount
        if self._buckets and self._buckets[-1][0] == now // self._width:
            self._buckets[-1][1] += amount  # what was too old went when this bucket began
        else:
            self._buckets.append([self._expire(now), amount])

    def sum(self, now: float) -> int:
        """What was counted."""
        self._expire(now)
        return self.total

    def below(self, now: float, limit: int) -> float:
        """Seconds until the sum is less than `limit`; 0 if it is."""
        number, left = self._expire(now), self.total
        for bucket, amount in self._buckets:
            if left < limit:
                break
            left -= amount
            number = bucket + self._count + 1
        return max(0.0, number * self._width - now)

    def _expire(self, now: float) -> int:
        number = int(now // self._width)
        while self._buckets and self._buckets[0][0] + self._count < number:
            self.total -= self._buckets.popleft()[1]
        return number
