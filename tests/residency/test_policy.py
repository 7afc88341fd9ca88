"""The plan: properties that hold for every state, and the examples a reader would ask about."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lanhaven.residency.policy import (
    DRAINING,
    LOADING,
    READY,
    Decision,
    Limits,
    Load,
    Occupant,
    Refuse,
    Serve,
    Wait,
    Want,
    evictable,
    expired,
    plan,
)

NOW = 100.0
OFTEN = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SMALL = st.integers(0, 3)


@st.composite
def occupants(draw: st.DrawFn) -> list[Occupant]:
    """Up to six instances in any consistent state."""
    found = []
    for number in range(draw(st.integers(0, 6))):
        state = draw(st.sampled_from([LOADING, READY, READY, READY, DRAINING]))
        started = state is not LOADING or draw(st.booleans())
        found.append(
            Occupant(
                instance_id=f"i{number}",
                model_key=draw(st.sampled_from("mno")),
                state=state,
                automatic=draw(st.booleans()),
                pinned=draw(st.integers(0, 4)) == 0,
                size_bytes=draw(st.integers(0, 5)),
                leases=draw(SMALL) if state is READY else 0,
                waiting=draw(SMALL) if state is not DRAINING else 0,
                slots=draw(st.sampled_from([None, 1, 3])),
                last_used=float(draw(st.integers(0, 5))),
                expires_at=draw(st.sampled_from([None, NOW - 1, NOW, NOW + 1])),
                started=started,
                loaded=state is READY or (state is DRAINING and draw(st.booleans())),
                held=state is READY and draw(st.integers(0, 5)) == 0,
                reload_seconds=float(draw(SMALL)),
                use_rate=float(draw(SMALL)),
                stays_until=draw(st.sampled_from([0.0, 0.0, NOW, NOW + 1])),
            )
        )
    return found


wants = st.builds(
    Want,
    model_key=st.sampled_from("mno"),
    instance_id=st.sampled_from([None, None, None, "i0", "i1"]),
    automatic=st.booleans(),
    needed_bytes=st.integers(0, 12),
    fresh=st.booleans(),
    force=st.booleans(),
    waited=st.sampled_from([0.0, 50.0]),
)
limits = st.builds(
    Limits,
    max_automatic=st.integers(1, 4),
    available_bytes=st.integers(0, 12),
    patience=st.sampled_from([0.0, 10.0, math.inf]),
)


@OFTEN
@given(occupants(), wants, limits)
def test_who_serves_has_a_free_slot_and_is_what_was_asked_for(here: list[Occupant], want: Want, limit: Limits) -> None:
    decision = plan(here, want, limit, NOW)
    if not isinstance(decision, Serve):
        return
    assert not want.fresh
    server = _of(here, decision.instance_id)
    assert server.model_key == want.model_key
    assert want.instance_id in (None, server.instance_id)
    assert server.state is READY
    assert not server.held
    assert server.free_slots > 0


@OFTEN
@given(occupants(), wants, limits)
def test_nothing_is_loaded_where_something_serves_or_is_coming(here: list[Occupant], want: Want, limit: Limits) -> None:
    same = [
        each
        for each in here
        if each.model_key == want.model_key
        and want.instance_id in (None, each.instance_id)
        and each.state is not DRAINING
    ]
    if same and not want.fresh:
        assert isinstance(plan(here, want, limit, NOW), Serve | Wait)


@OFTEN
@given(occupants(), wants, limits)
def test_only_idle_evictable_ones_are_evicted(here: list[Occupant], want: Want, limit: Limits) -> None:
    decision = plan(here, want, limit, NOW)
    for name in decision.evict if isinstance(decision, Load) else ():
        victim = _of(here, name)
        assert not victim.busy
        assert not victim.pinned
        assert victim.state is not DRAINING
        assert victim.automatic or victim.expired(NOW)


@OFTEN
@given(occupants(), wants, limits)
def test_only_evictable_ones_are_held(here: list[Occupant], want: Want, limit: Limits) -> None:
    decision = plan(here, want, limit, NOW)
    for name in decision.hold if isinstance(decision, Wait) else ():
        assert want.waited >= limit.patience
        assert evictable(_of(here, name), NOW)
        assert _of(here, name).state is READY


@OFTEN
@given(occupants(), wants, limits)
def test_nobody_is_evicted_without_need(here: list[Occupant], want: Want, limit: Limits) -> None:
    decision = plan(here, want, limit, NOW)
    if not isinstance(decision, Load) or not decision.evict:
        return
    for spared in decision.evict:
        victims = [each for each in decision.evict if each != spared]
        after = _leaving(here, victims)
        again = plan(after, replace(want, fresh=True), limit, NOW)
        assert again not in (Load(), Wait("unload"))


@OFTEN
@given(occupants(), wants, limits)
def test_who_came_back_makes_no_room_for_a_request_before_its_time(
    here: list[Occupant], want: Want, limit: Limits
) -> None:
    decision = plan(here, want, limit, NOW)
    for name in decision.evict if isinstance(decision, Load) else ():
        victim = _of(here, name)
        stayed = victim.stays_until <= NOW or victim.expired(NOW)
        assert stayed or not want.automatic or want.waited >= limit.patience
    if isinstance(decision, Wait) and decision.until is not None:
        assert decision.until > NOW
        assert want.automatic
        assert want.waited < limit.patience


@OFTEN
@given(occupants(), wants, limits)
def test_once_the_victims_are_gone_the_load_starts(here: list[Occupant], want: Want, limit: Limits) -> None:
    decision = plan(here, want, limit, NOW)
    if isinstance(decision, Load):
        leaving = _leaving(here, decision.evict)
        if decision.evict:
            assert plan(leaving, replace(want, fresh=True), limit, NOW) == Wait("unload")
        left, more = _gone(leaving, limit)
        assert _fits(left, want, more)


@OFTEN
@given(occupants(), wants, limits)
def test_what_starts_now_fits_now(here: list[Occupant], want: Want, limit: Limits) -> None:
    """Places and memory hold at the moment an engine starts, whatever leaves, loads or has room promised."""
    if plan(here, want, limit, NOW) != Load():
        return
    if want.automatic:
        assert sum(each.automatic for each in here) + 1 <= limit.max_automatic
    if want.needed_bytes and not want.force:
        promised = sum(each.size_bytes for each in here if not each.loaded)
        assert want.needed_bytes + promised <= limit.available_bytes


@OFTEN
@given(occupants(), wants, limits)
def test_refused_is_what_can_never_fit(here: list[Occupant], want: Want, limit: Limits) -> None:
    decision = plan(here, want, limit, NOW)
    if isinstance(decision, Refuse):
        kept = [each for each in here if not evictable(each, NOW) and each.state is not DRAINING]
        ever, more = _gone([each if each in kept else replace(each, state=DRAINING) for each in here], limit)
        assert not _fits(ever, want, more)
        assert set(decision.kept) <= {each.instance_id for each in kept}


@OFTEN
@given(occupants(), wants, limits)
def test_who_waits_waits_for_something_that_happens(here: list[Occupant], want: Want, limit: Limits) -> None:
    """A wait without anything in motion would be a wedge."""
    decision = plan(here, want, limit, NOW)
    if isinstance(decision, Wait) and decision.until is None:
        assert any(each.busy or each.held or each.state is not READY for each in here)


@OFTEN
@given(st.permutations(range(4)), wants, limits)
def test_the_order_of_the_books_does_not_matter(order: list[int], want: Want, limit: Limits) -> None:
    here = [Occupant(instance_id=f"i{n}", model_key="m", size_bytes=n, last_used=float(n % 2)) for n in range(4)]
    assert plan([here[n] for n in order], want, limit, NOW) == plan(here, want, limit, NOW)


@OFTEN
@given(occupants())
def test_expired_ones_are_idle_unpinned_and_past_their_time(here: list[Occupant]) -> None:
    for name in expired(here, NOW):
        one = _of(here, name)
        assert one.expires_at is not None
        assert one.expires_at < NOW
        assert not one.busy
        assert not one.pinned
        assert one.state is READY


def _of(here: list[Occupant], name: str) -> Occupant:
    return next(each for each in here if each.instance_id == name)


def _leaving(here: list[Occupant], names: tuple[str, ...] | list[str]) -> list[Occupant]:
    return [replace(each, state=DRAINING, leases=0, waiting=0) if each.instance_id in names else each for each in here]


def _gone(here: list[Occupant], limit: Limits) -> tuple[list[Occupant], Limits]:
    """What leaves has left, and given its memory back."""
    back = sum(each.size_bytes for each in here if each.state is DRAINING and each.started)
    left = [each for each in here if each.state is not DRAINING]
    return left, replace(limit, available_bytes=limit.available_bytes + back)


def _fits(here: list[Occupant], want: Want, limit: Limits) -> bool:
    """Whether it fits, should all that loads have taken its memory already."""
    places = not want.automatic or sum(each.automatic for each in here) < limit.max_automatic
    promised = sum(each.size_bytes for each in here if each.state is LOADING and not each.started)
    memory = want.force or not want.needed_bytes or want.needed_bytes + promised <= limit.available_bytes
    return places and memory


# Examples.


def _plan(here: list[Occupant], *, free: int = 0, need: int = 0, places: int = 2, **want: object) -> Decision:
    wanted = replace(Want(model_key="wanted", needed_bytes=need), **want)  # type: ignore[arg-type]
    return plan(here, wanted, Limits(max_automatic=places, available_bytes=free, patience=10.0), NOW)


def _one(name: str, **said: object) -> Occupant:
    return replace(Occupant(instance_id=name, model_key=name), **said)  # type: ignore[arg-type]


def test_the_least_recently_used_goes_first() -> None:
    assert _plan([_one("old", last_used=1.0), _one("new", last_used=2.0)]) == Load(("old",))


def test_what_is_cheaper_to_bring_back_goes_first() -> None:
    small = _one("small", last_used=9.0, reload_seconds=1.0, use_rate=0.1)
    large = _one("large", last_used=1.0, reload_seconds=30.0, use_rate=0.01)
    assert _plan([small, large]) == Load(("small",))
    assert _plan([replace(small, use_rate=0.0), replace(large, use_rate=0.0)]) == Load(("large",)), "LRU among unused"
    assert _plan([small, replace(large, expires_at=NOW - 1)]) == Load(("large",)), "its TTL says that nobody needs it"


def test_where_memory_is_missing_the_cost_is_that_of_each_byte() -> None:
    """The large one costs twice as much, and gives four times as much."""
    small = _one("small", size_bytes=1, reload_seconds=1.0, use_rate=1.0)
    large = _one("large", size_bytes=4, reload_seconds=2.0, use_rate=1.0)
    assert _plan([small, large], need=4, places=5) == Load(("large",))
    assert _plan([small, large], need=1, places=5) == Load(("small",)), "what is freed beyond the need is worth nothing"


def test_one_large_victim_is_better_than_many_dear_ones() -> None:
    many = [_one(f"i{n}", size_bytes=2, reload_seconds=1.0, use_rate=0.9) for n in range(3)]
    assert _plan([*many, _one("big", size_bytes=6, reload_seconds=2.0, use_rate=1.0)], need=5, places=9) == Load(
        ("big",)
    )


def test_who_gives_nothing_of_what_is_missing_stays() -> None:
    free = _one("elsewhere", last_used=1.0)
    assert _plan([free, _one("here", size_bytes=4, reload_seconds=9.0, use_rate=9.0)], need=4, places=5) == Load(
        ("here",)
    )


def test_who_came_back_stays_a_while_but_not_for_ever() -> None:
    back = _one("back", stays_until=NOW + 5)
    assert _plan([back], places=1) == Wait("just back", until=NOW + 5)
    assert _plan([back], places=1, waited=10.0) == Load(("back",)), "patience has its end"
    assert _plan([back, _one("other", last_used=50.0)]) == Load(("other",))
    assert _plan([replace(back, size_bytes=5)], need=5, places=1, automatic=False) == Load(("back",)), "an order"


def test_a_small_old_one_is_spared_if_a_big_one_must_go_anyway() -> None:
    here = [_one("small", last_used=1.0, size_bytes=1), _one("big", last_used=2.0, size_bytes=10)]
    assert _plan(here, need=10, places=5) == Load(("big",))


@pytest.mark.req("C17")
def test_explicit_instances_neither_count_nor_go() -> None:
    here = [_one("a", automatic=False), _one("b", automatic=False), _one("c", automatic=False)]
    assert _plan(here) == Load()
    refused = _plan([_one("a", automatic=False, size_bytes=9)], need=5, free=3)
    assert refused == Refuse(5, 3, 0, ("a",))


@pytest.mark.req("C17")
def test_an_explicit_instance_goes_once_its_ttl_has_expired() -> None:
    assert _plan([_one("a", automatic=False, size_bytes=9, expires_at=NOW - 1)], need=5, free=3) == Load(("a",))


@pytest.mark.req("F-063")
def test_busy_ones_are_waited_for_and_after_a_while_held() -> None:
    here = [_one("a", leases=1, last_used=2.0), _one("b", waiting=1, last_used=1.0)]
    assert _plan(here) == Wait("busy")
    assert _plan(here, waited=10.0) == Wait("busy", hold=("b",))


@pytest.mark.req("F-017")
def test_too_big_is_refused_with_the_sum() -> None:
    here = [_one("a", size_bytes=4), _one("pinned", size_bytes=20, pinned=True), _one("busy", size_bytes=3, leases=1)]
    assert _plan(here, need=30, free=10, places=9) == Refuse(30, 10, 7, ("pinned",))
    assert _plan(here, need=30, free=10, places=9, force=True) == Load()


def test_places_all_pinned() -> None:
    here = [_one("a", pinned=True), _one("b", pinned=True), _one("c", automatic=False)]
    refused = _plan(here)
    assert isinstance(refused, Refuse)
    assert refused.places
    assert refused.kept == ("a", "b")


def test_memory_of_a_load_in_progress_is_promised() -> None:
    loading = _one("a", state=LOADING, waiting=1, size_bytes=6, loaded=False)
    assert _plan([loading], free=10, need=4) == Load()
    assert _plan([loading], free=10, need=5) == Wait("busy")


def test_nobody_is_evicted_for_memory_that_may_be_counted_twice() -> None:
    """A load in progress has taken some of what it was promised: let it settle first."""
    loading = _one("a", state=LOADING, waiting=1, size_bytes=6, loaded=False)
    idle = _one("b", size_bytes=4)
    assert _plan([loading, idle], free=5, need=2, places=5) == Wait("memory")


def test_what_leaves_is_waited_for_before_the_engine_starts() -> None:
    assert _plan([_one("a", state=DRAINING), _one("b")]) == Wait("unload")
    assert _plan([_one("a", state=DRAINING, size_bytes=5)], free=1, need=5) == Wait("unload")


def test_a_load_that_nobody_waits_for_may_go() -> None:
    assert _plan([_one("a", state=LOADING, loaded=False), _one("b", leases=1)]) == Load(("a",))


@pytest.mark.req("F-070")
def test_in_the_instant_of_its_expiry_an_instance_still_lives() -> None:
    assert expired([_one("a", expires_at=NOW)], NOW) == ()
    assert expired([_one("a", expires_at=NOW)], NOW + 0.001) == ("a",)
