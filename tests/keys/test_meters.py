"""What keys ask for, and when it is too much."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lanhaven.errors import RateLimited
from lanhaven.events import InferenceComplete
from lanhaven.keys.key import Limits, Terms
from lanhaven.keys.meters import Meters, Used
from lanhaven.keys.store import KeyStore
from lanhaven.types.chat import Usage

NOBODY = Limits()
EPOCH = 1_800_000_000.0


class Time:
    """Both clocks, which go when told to."""

    def __init__(self) -> None:
        self.now = 500.0

    def clock(self) -> float:
        return self.now

    def wall(self) -> float:
        return EPOCH + self.now


def meters(time: Time) -> Meters:
    return Meters(time.clock, time.wall)


def kept(folder: Path, time: Time) -> KeyStore:
    """The store of a server, at this time."""
    return KeyStore(folder / "keys.sqlite3", clock=time.clock, wall=time.wall)


def ended(client: str | None, prompt: int, completion: int) -> InferenceComplete:
    said: Mapping[str, Any] = {"seconds": 1.0, "queue_seconds": 0.0, "first_byte_seconds": 0.5, "finish_reason": "stop"}
    return InferenceComplete(
        request_id="r",
        model_key="m",
        instance_id="m",
        dialect="openai",
        client=client,
        streamed=False,
        usage=Usage(prompt, completion),
        **said,
    )


def test_requests_a_minute_and_when_there_is_room_again() -> None:
    time = Time()
    counted, limits = meters(time), Limits(requests_per_minute=3)
    for _ in range(3):
        counted.admit("anna", limits)
        time.now += 10
    with pytest.raises(RateLimited, match="anna may use 3 requests a minute") as refused:
        counted.admit("anna", limits)
    assert refused.value.status == 429
    assert refused.value.code == "rate_limit_exceeded"
    assert refused.value.retry_after is not None
    assert 29 < refused.value.retry_after <= 31
    assert refused.value.retry is None
    assert refused.value.facts == {"limit": 3, "unit": "requests a minute"}
    counted.admit("bert", limits)
    assert counted.used("anna").requests_per_minute == 3  # what was refused does not count
    time.now += refused.value.retry_after
    counted.admit("anna", limits)


def test_tokens_are_counted_when_an_answer_is_complete() -> None:
    time = Time()
    counted, limits = meters(time), Limits(tokens_per_minute=100)
    counted.admit("anna", limits)
    counted.listen(ended("anna", 60, 300))
    assert counted.used("anna") == Used(1, 1, 360, 360)
    with pytest.raises(RateLimited, match="100 tokens a minute"):
        counted.admit("anna", limits)
    counted.listen(ended(None, 60, 300))
    time.now += 61
    counted.admit("anna", limits)


def test_a_day_slides() -> None:
    time = Time()
    counted, limits = meters(time), Limits(requests_per_day=2)
    counted.admit("anna", limits)
    time.now += 12 * 3600
    counted.admit("anna", limits)
    with pytest.raises(RateLimited, match="2 requests a day") as refused:
        counted.admit("anna", limits)
    assert refused.value.retry is False  # no library is to wait so long
    assert refused.value.retry_after is not None
    assert 12 * 3600 - 120 < refused.value.retry_after <= 12 * 3600 + 120
    time.now += refused.value.retry_after
    counted.admit("anna", limits)


def test_without_limits_everything_is_counted_and_nothing_refused() -> None:
    counted = meters(Time())
    for _ in range(1000):
        counted.admit("anna", NOBODY)
    assert counted.used("anna").requests_per_day == 1000
    assert counted.used("nobody") == Used()


def test_the_day_is_known_after_a_restart_and_the_minute_is_not(tmp_path: Path) -> None:
    time = Time()
    store = kept(tmp_path, time)
    store.add("anna", terms=Terms(limits=Limits(requests_per_day=3)))
    limits = store.list()[0].terms.limits
    for _ in range(2):
        store.meters.admit("anna", limits)
        store.meters.listen(ended("anna", 5, 5))
        store.flush()
        time.now += 3600
    again = Time()  # another process has another clock that only goes forward; the epoch is the same
    offset = time.now - again.now
    next_run = KeyStore(tmp_path / "keys.sqlite3", clock=again.clock, wall=lambda: EPOCH + again.now + offset)
    assert next_run.meters.used("anna") == Used(0, 2, 0, 20)
    next_run.meters.admit("anna", limits)
    with pytest.raises(RateLimited):
        next_run.meters.admit("anna", limits)
    again.now += 22 * 3600 + 120
    next_run.meters.admit("anna", limits)


def test_what_was_written_longer_ago_than_a_day_is_gone(tmp_path: Path) -> None:
    time = Time()
    store = kept(tmp_path, time)
    store.add("anna")
    store.meters.admit("anna", NOBODY)
    store.flush()
    time.now += 2 * 86_400
    assert kept(tmp_path, time).meters.used("anna") == Used()


def test_another_key_of_the_same_name_begins_anew(tmp_path: Path) -> None:
    time = Time()
    store = kept(tmp_path, time)
    store.add("anna")
    store.meters.admit("anna", NOBODY)
    store.flush()
    store.revoke("anna")
    store.add("anna")
    assert store.meters.used("anna") == Used()
    assert kept(tmp_path, time).meters.used("anna") == Used()


def test_a_clock_that_was_set_back_does_no_harm(tmp_path: Path) -> None:
    time = Time()
    store = kept(tmp_path, time)
    store.add("anna")
    store.meters.admit("anna", NOBODY)
    store.flush()
    earlier = KeyStore(tmp_path / "keys.sqlite3", clock=time.clock, wall=lambda: time.wall() - 7200)
    assert earlier.meters.used("anna").requests_per_day == 1
