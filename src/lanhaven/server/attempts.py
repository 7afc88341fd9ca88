"""Slows guessing: after too many wrong keys, an address must wait (F-155)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from lanhaven.errors import ClientError


class TooManyAttempts(ClientError):
    """Too many wrong keys from this address."""

    status = 429
    code = "too_many_attempts"


class WrongKeys:
    """Counts wrong keys per client address over a window. Bounded: the address unseen for longest is forgotten.

    A key that was right from an address before stays right there while the address is blocked: one misconfigured
    program must not lock out the others on its machine, and a guesser learns nothing from it.
    """

    def __init__(
        self, clock: Callable[[], float], *, allowed: int = 20, window: float = 60.0, bound: int = 10_000
    ) -> None:
        self._clock = clock
        self._allowed = allowed
        self._window = window
        self._bound = bound
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()  # address -> (window's end, wrong keys)
        self._proven: dict[tuple[str, bytes], None] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def check(self, address: str, digest: bytes) -> None:
        """Raise TooManyAttempts if `address` may not try this key now."""
        seen = self._counts.get(address)
        if seen is None or seen[1] < self._allowed:
            return
        left = seen[0] - self._clock()
        if left <= 0:
            del self._counts[address]
        elif (address, digest) not in self._proven:
            raise TooManyAttempts("Too many wrong keys from this address.", retry_after=left)

    def wrong(self, address: str) -> None:
        """Count a wrong key."""
        now = self._clock()
        until, count = self._counts.pop(address, (0.0, 0))
        if until <= now:
            until, count = now + self._window, 0
        self._counts[address] = (until, count + 1)
        if len(self._counts) > self._bound:
            self._counts.popitem(last=False)

    def right(self, address: str, digest: bytes) -> None:
        """Remember a key that was right."""
        pair = (address, digest)
        if pair not in self._proven:
            if len(self._proven) >= self._bound:
                self._proven.clear()
            self._proven[pair] = None
