"""How often models are wanted: what counts, and for how long."""

from __future__ import annotations

import pytest

from lanhaven.residency.habits import LONGEST_STAY, MEMORY, SOON, Habit, stay


def used(*times: float) -> Habit:
    habit = Habit()
    for time in times:
        habit.used(time)
    return habit


def test_many_requests_at_once_are_few_uses() -> None:
    """One load would have served them all: it is pauses that tell how often a load was spared."""
    burst, spread = used(*range(100)), used(*range(0, 6000, 60))
    assert burst.uses == pytest.approx(1 + 99 / 60, rel=0.05)
    assert spread.uses > 20
    assert used(0.0).uses == 1.0


def test_old_uses_fade() -> None:
    habit = used(0.0)
    long_ago = -1e9  # of the instance: nothing is left of that
    assert habit.rate(0.0, long_ago) == pytest.approx(1 / MEMORY)
    assert habit.rate(MEMORY, long_ago) == pytest.approx(0.3679 / MEMORY, rel=0.001)
    assert Habit().rate(5.0, long_ago) < 1e-9


def test_just_now_counts_more_than_often_and_in_the_long_run_less() -> None:
    often, now = used(*range(0, 600, 60)), used(600.0)
    assert now.rate(601.0, 600.0) > often.rate(601.0, 540.0)
    assert now.rate(1500.0, 600.0) < often.rate(1500.0, 540.0)


def test_it_came_back_only_if_it_had_to_go_a_moment_ago() -> None:
    habit = Habit()
    assert not habit.came_back(0.0)
    habit.evicted = 100.0
    assert habit.came_back(100.0 + SOON / 2)
    assert not habit.came_back(100.0 + SOON)


def test_a_stay_is_as_long_as_the_load_within_reason() -> None:
    assert (stay(5.0), stay(600.0)) == (5.0, LONGEST_STAY)
