"""What keys ask for, and when it is too much."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lanhaven.errors import RateLimited
from lanhaven.events import Failure, InferenceComplete
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


class Asking:
    """Asks with requests of their own names, that end at once."""

    def __init__(self, meters: Meters) -> None:
        self.meters = meters
        self._number = 0

    def admit(self, name: str, limits: Limits = NOBODY, most: int | None = None) -> str:
        """The request's id; it is under way. most: the tokens that it says it may take."""
        self._number += 1
        self.meters.admit(name, limits, f"r{self._number}", lambda: most)
        return f"r{self._number}"

    def ask(self, name: str, limits: Limits = NOBODY, prompt: int = 0, completion: int = 0) -> None:
        self.meters.ended(ended(name, prompt, completion, self.admit(name, limits)))

    def used(self, name: str) -> Used:
        return self.meters.used(name)


def meters(time: Time) -> Asking:
    return Asking(Meters(time.clock, time.wall))


def kept(folder: Path, time: Time) -> KeyStore:
    """The store of a server, at this time."""
    return KeyStore(folder / "keys.sqlite3", clock=time.clock, wall=time.wall)


def ended(client: str | None, prompt: int, completion: int, request_id: str) -> InferenceComplete:
    said: Mapping[str, Any] = {"seconds": 1.0, "queue_seconds": 0.0, "first_byte_seconds": 0.5, "finish_reason": "stop"}
    return InferenceComplete(
        request_id=request_id,
        model_key="m",
        instance_id="m",
        dialect="openai",
        client=client,
        streamed=False,
        usage=Usage(prompt, completion),
        **said,
    )


def cut_off(client: str, request_id: str, usage: Usage) -> Failure:
    facts: Mapping[str, Any] = {"error": "The client left.", "code": "client_closed", "status": 499, "cancelled": True}
    return Failure(operation="inference", request_id=request_id, client=client, usage=usage, **facts)


def test_requests_a_minute_and_when_there_is_room_again() -> None:
    time = Time()
    counted, limits = meters(time), Limits(requests_per_minute=3)
    for _ in range(3):
        counted.ask("anna", limits)
        time.now += 10
    with pytest.raises(RateLimited, match="anna may use 3 requests a minute") as refused:
        counted.ask("anna", limits)
    assert refused.value.status == 429
    assert refused.value.code == "rate_limit_exceeded"
    assert refused.value.retry_after is not None
    assert 29 < refused.value.retry_after <= 31
    assert refused.value.retry is None
    assert refused.value.facts == {"limit": 3, "unit": "requests a minute"}
    counted.ask("bert", limits)
    assert counted.used("anna").requests_per_minute == 3  # what was refused does not count
    time.now += refused.value.retry_after
    counted.ask("anna", limits)


def test_tokens_are_counted_when_an_answer_is_complete() -> None:
    time = Time()
    counted, limits = meters(time), Limits(tokens_per_minute=100)
    counted.ask("anna", limits, 60, 300)
    assert counted.used("anna") == Used(1, 1, 360, 360)
    with pytest.raises(RateLimited, match="100 tokens a minute: it may ask again in 61 s"):
        counted.ask("anna", limits)
    counted.meters.ended(ended(None, 60, 300, "of nobody"))
    counted.meters.ended(ended("anna", 60, 300, "not admitted"))
    assert counted.used("anna") == Used(1, 1, 360, 360)
    time.now += 61
    counted.ask("anna", limits)


def test_tokens_of_an_answer_that_was_cut_off_are_counted() -> None:
    counted = meters(Time())
    counted.meters.ended(cut_off("anna", counted.admit("anna"), Usage(30, 4)))
    counted.meters.ended(cut_off("anna", counted.admit("anna"), Usage()))
    assert counted.used("anna") == Used(2, 2, 34, 34)


def test_requests_side_by_side_do_not_pass_a_limit_of_tokens_together() -> None:
    time = Time()
    counted, limits = meters(time), Limits(tokens_per_minute=1000)
    first, _ = counted.admit("anna", limits), counted.admit("anna", limits)  # of a key of which nothing is known
    with pytest.raises(RateLimited, match="requests under way may take what is left: it may ask again in 1 s"):
        counted.admit("anna", limits)
    counted.meters.ended(ended("anna", 50, 50, first))
    for _ in range(8):  # they take 100 tokens each: there is room for nine more, of which one is under way
        counted.admit("anna", limits)
    with pytest.raises(RateLimited) as refused:
        counted.admit("anna", limits)
    assert (refused.value.retry_after, refused.value.retry) == (1, None)
    assert counted.used("anna").requests_per_minute == 10


def test_what_says_how_much_it_may_take_counts_as_that_while_it_is_under_way() -> None:
    counted, limits = meters(Time()), Limits(tokens_per_minute=1000)
    for _ in range(10):
        counted.ask("anna", limits, 5, 5)  # 100 of 1000 are used, 10 by each
    first, _ = counted.admit("anna", limits, most=600), counted.admit("anna", limits, most=290)
    counted.admit("anna", limits)  # it says nothing: 10, as those before
    with pytest.raises(RateLimited, match="requests under way may take what is left"):
        counted.admit("anna", limits)
    counted.meters.ended(ended("anna", 5, 15, first))  # of the 600
    for _ in range(2):
        counted.admit("anna", limits, most=290)
    with pytest.raises(RateLimited):
        counted.admit("anna", limits)


def test_side_by_side_a_limit_is_passed_by_one_request_at_most() -> None:
    counted, limits = meters(Time()), Limits(tokens_per_day=1000)
    under_way = [counted.admit("anna", limits, most=300) for _ in range(4)]
    with pytest.raises(RateLimited):
        counted.admit("anna", limits, most=300)
    for each in under_way:
        counted.meters.ended(ended("anna", 100, 200, each))  # all that they may
    assert 1000 <= counted.used("anna").tokens_per_day < 1000 + 300


def test_how_much_a_request_may_take_is_asked_only_where_tokens_are_limited() -> None:
    counted = Meters(Time().clock, Time().wall)

    def never() -> int:
        raise AssertionError

    counted.admit("anna", NOBODY, "r1", never)
    counted.admit("anna", Limits(requests_per_minute=9), "r2", never)


def test_one_request_is_admitted_however_small_the_limit_is() -> None:
    counted = meters(Time())
    counted.admit("anna", Limits(tokens_per_day=1))
    with pytest.raises(RateLimited):
        counted.admit("anna", Limits(tokens_per_day=1))


def test_a_day_slides() -> None:
    time = Time()
    counted, limits = meters(time), Limits(requests_per_day=2)
    counted.ask("anna", limits)
    time.now += 12 * 3600
    counted.ask("anna", limits)
    with pytest.raises(RateLimited, match="2 requests a day") as refused:
        counted.ask("anna", limits)
    assert refused.value.retry is False  # no library is to wait so long
    assert refused.value.retry_after is not None
    assert 12 * 3600 - 120 < refused.value.retry_after <= 12 * 3600 + 120
    time.now += refused.value.retry_after
    counted.ask("anna", limits)


def test_without_limits_everything_is_counted_and_nothing_refused() -> None:
    counted = meters(Time())
    for _ in range(1000):
        counted.ask("anna", NOBODY)
    assert counted.used("anna").requests_per_day == 1000
    assert counted.used("nobody") == Used()


def test_the_day_is_known_after_a_restart_and_the_minute_is_not(tmp_path: Path) -> None:
    time = Time()
    store = kept(tmp_path, time)
    store.add("anna", terms=Terms(limits=Limits(requests_per_day=3)))
    limits, asking = store.list()[0].terms.limits, Asking(store.meters)
    for _ in range(2):
        asking.ask("anna", limits, 5, 5)
        store.flush()
        time.now += 3600
    again = Time()  # another process has another clock that only goes forward; the epoch is the same
    offset = time.now - again.now
    next_run = KeyStore(tmp_path / "keys.sqlite3", clock=again.clock, wall=lambda: EPOCH + again.now + offset)
    assert next_run.meters.used("anna") == Used(0, 2, 0, 20)
    asking = Asking(next_run.meters)
    asking.ask("anna", limits)
    with pytest.raises(RateLimited):
        asking.ask("anna", limits)
    again.now += 22 * 3600 + 120
    asking.ask("anna", limits)


def test_what_was_written_longer_ago_than_a_day_is_gone(tmp_path: Path) -> None:
    time = Time()
    store = kept(tmp_path, time)
    store.add("anna")
    Asking(store.meters).ask("anna")
    store.flush()
    time.now += 2 * 86_400
    assert kept(tmp_path, time).meters.used("anna") == Used()


def test_the_tokens_of_a_key_that_is_gone_are_not_those_of_its_namesake(tmp_path: Path) -> None:
    store = kept(tmp_path, Time())
    store.add("anna")
    asking = Asking(store.meters)
    request_id = asking.admit("anna")
    store.revoke("anna")
    store.add("anna")
    store.meters.ended(ended("anna", 50, 50, request_id))
    assert store.meters.used("anna") == Used()
    store.flush()
    assert kept(tmp_path, Time()).meters.used("anna") == Used()


def test_another_key_of_the_same_name_begins_anew(tmp_path: Path) -> None:
    time = Time()
    store = kept(tmp_path, time)
    store.add("anna")
    Asking(store.meters).ask("anna")
    store.flush()
    store.revoke("anna")
    store.add("anna")
    assert store.meters.used("anna") == Used()
    assert kept(tmp_path, time).meters.used("anna") == Used()


def test_a_clock_that_was_set_back_does_no_harm(tmp_path: Path) -> None:
    time = Time()
    store = kept(tmp_path, time)
    store.add("anna")
    Asking(store.meters).ask("anna")
    store.flush()
    earlier = KeyStore(tmp_path / "keys.sqlite3", clock=time.clock, wall=lambda: time.wall() - 7200)
    assert earlier.meters.used("anna").requests_per_day == 1
