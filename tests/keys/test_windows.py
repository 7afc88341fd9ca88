"""Sums over the last minute or day."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanhaven.keys.windows import Window

STEPS = st.lists(st.tuples(st.floats(0, 40), st.integers(1, 5)), max_size=60)


@given(STEPS, st.sampled_from([(1, 60), (60, 10)]))
def test_a_window_counts_all_of_its_span_and_at_most_a_bucket_more(
    steps: list[tuple[float, int]], shape: tuple[int, int]
) -> None:
    width, count = shape
    window, now, seen = Window(width, count), 1000.0, list[tuple[float, int]]()
    for pause, amount in steps:
        now += pause
        window.add(now, amount)
        seen.append((now, amount))
        least = sum(each for when, each in seen if when > now - width * count)
        most = sum(each for when, each in seen if when > now - width * (count + 1))
        assert least <= window.sum(now) <= most
    assert window.sum(now + width * (count + 1)) == 0


@given(STEPS, st.integers(1, 40))
def test_it_says_when_there_is_room_again(steps: list[tuple[float, int]], limit: int) -> None:
    window, now = Window(1, 60), 1000.0
    for pause, amount in steps:
        now += pause
        window.add(now, amount)
    wait = window.below(now, limit)
    assert 0 <= wait <= 61
    assert window.sum(now + wait + 1e-6) < limit
    if wait > 1:
        before = Window(1, 60)
        now = 1000.0
        for pause, amount in steps:
            now += pause
            before.add(now, amount)
        assert before.sum(now + wait - 1) >= limit


@pytest.mark.parametrize("amount", [1, 1000])
def test_it_keeps_a_bucket_for_each_moment_and_no_more(amount: int) -> None:
    window = Window(60, 1440)
    for second in range(0, 3 * 86_400, 20):
        window.add(float(second), amount)
    assert len(window._buckets) <= 1441
    assert window.total == len(window._buckets) * 3 * amount
