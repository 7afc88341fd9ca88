"""Small histograms that can be added up: buckets that grow by a fifth, so a percentile is right to a tenth.

As bytes, the way they are kept: five for each bucket that is not empty, its number and its count.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from math import ceil, log2

PER_DOUBLING = 4
LAST = 120  # 2 ** 30 ms, twelve days
MOST = 2**32 - 1

_PAIR = struct.Struct(">BI")


def bucket(milliseconds: int) -> int:
    """Its number; 0 holds what is below a millisecond."""
    return 0 if milliseconds < 1 else min(LAST, 1 + int(log2(milliseconds) * PER_DOUBLING))


def packed(milliseconds: Iterable[int]) -> bytes:
    """The histogram of these values."""
    return _packed(Counter(map(bucket, milliseconds)))


def percentile(histogram: bytes, share: float) -> float | None:
    """In milliseconds: the middle of the bucket that holds it. None of an empty one."""
    counts = sorted(_PAIR.iter_unpack(histogram))
    wanted = ceil(share * sum(count for _, count in counts))
    for number, count in counts:
        wanted -= count
        if wanted <= 0:
            return 0.0 if number == 0 else round(2.0 ** ((number - 0.5) / PER_DOUBLING), 1)
    return None


class Merged:
    """An aggregate function of SQL: the sum of histograms."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def step(self, histogram: bytes) -> None:
        """Add one."""
        for number, count in _PAIR.iter_unpack(histogram):
            self._counts[number] += count

    def finalize(self) -> bytes:
        """The sum."""
        return _packed(self._counts)


def _packed(counts: Mapping[int, int]) -> bytes:
    return b"".join(_PAIR.pack(number, min(MOST, count)) for number, count in sorted(counts.items()))
