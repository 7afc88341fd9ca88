"""Who serves, who loads, who makes room: a pure function of what is resident.

No clock, no asyncio, no logging: the pool asks, acts, and asks again whenever something has changed. Memory and places
are seen in two ways. *Projected*: what leaves is as good as gone; this decides whom to evict. *Strict*: what leaves is
still there; this decides whether an engine may start now. So victims are chosen once, and nothing starts before they
are gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lanhaven.types.models import InstanceState

LOADING, READY, DRAINING = InstanceState.LOADING, InstanceState.READY, InstanceState.DRAINING
UNBOUNDED = 1 << 30  # free slots of an upstream that bounds itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupant:
    """An instance as the policy sees it.

    size_bytes: memory of this machine that it holds, or will hold once it is loaded; 0 = none, or unknown.
    started: False while it only holds a reservation, its engine not started yet.
    loaded: it has been ready: its memory is taken, and missing in what is free. Until then, also while a cancelled load
    ends, it may take more.
    waiting: requests and orders that wait for this very instance.
    reload_seconds: how long it would take to bring it back. use_rate: how often a second it will be wanted, probably.
    stays_until: it has come back after it had made room for others, and stays so long, unless somebody loses patience.
    """

    instance_id: str
    model_key: str
    state: InstanceState = READY
    automatic: bool = True
    pinned: bool = False
    size_bytes: int = 0
    leases: int = 0
    waiting: int = 0
    slots: int | None = None
    last_used: float = 0.0
    expires_at: float | None = None
    started: bool = True
    loaded: bool = True
    held: bool = False  # takes no new requests, so that it becomes idle
    reload_seconds: float = 0.0
    use_rate: float = 0.0
    stays_until: float = 0.0

    @property
    def busy(self) -> bool:
        """Somebody uses it or waits for it."""
        return self.leases > 0 or self.waiting > 0

    @property
    def free_slots(self) -> int:
        return (UNBOUNDED if self.slots is None else self.slots) - self.leases

    @property
    def cost(self) -> float:
        """Of evicting it: the share of all time to come that would go into bringing it back."""
        return self.reload_seconds * self.use_rate

    def expired(self, now: float) -> bool:
        """Idle for longer than its TTL. In the very instant of expiry a request still wins."""
        idle = self.state is READY and not self.pinned and not self.busy
        return idle and self.expires_at is not None and self.expires_at < now


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """A request, or an order to load.

    fresh: a new instance is wanted even where one could serve. force: memory is not looked at.
    waited: seconds it has been waiting for room.
    """

    model_key: str
    instance_id: str | None = None
    automatic: bool = True
    needed_bytes: int = 0
    fresh: bool = False
    force: bool = False
    waited: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """available_bytes: free memory now. patience: seconds of waiting after which busy instances are held."""

    max_automatic: int
    available_bytes: int
    patience: float = float("inf")


@dataclass(frozen=True, slots=True)
class Serve:
    """This instance takes the request now."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class Load:
    """Load; if `evict` is not empty, these must be gone first, and the plan is to be asked for again then."""

    evict: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """Something must change first. reason: "load" (of this model), "unload", "memory" (a load must settle), "busy",
    "just back" (an instance that has come back stays a while).

    `hold`: instances that should take no new requests, so that they become idle. `until`: ask again then at the latest.
    """

    reason: str
    hold: tuple[str, ...] = ()
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Refuse:
    """It cannot fit whatever becomes idle. `places` is True where pinned instances hold every place."""

    needed_bytes: int
    available_bytes: int
    evictable_bytes: int
    kept: tuple[str, ...]  # what is never evicted for it
    places: bool = False


Decision = Serve | Load | Wait | Refuse


def plan(residents: Sequence[Occupant], want: Want, limits: Limits, now: float) -> Decision:
    """What to do about `want`. `residents` are all others: what is loaded, leaving, loading or has room reserved."""
    if not want.fresh:
        same = [each for each in residents if _serves(each, want)]
        ready = [each for each in same if each.state is READY and not each.held and each.free_slots > 0]
        if ready:
            return Serve(min(ready, key=lambda each: (-each.free_slots, each.last_used, each.instance_id)).instance_id)
        if same:
            return Wait("load" if any(each.state is LOADING for each in same) else "busy")
    return _make_room(residents, want, limits, now)


def expired(residents: Iterable[Occupant], now: float) -> tuple[str, ...]:
    """The instances whose idle TTL has ended them."""
    return tuple(each.instance_id for each in residents if each.expired(now))


def evictable(occupant: Occupant, now: float) -> bool:
    """Whether it may be evicted once nobody uses it or waits for it."""
    return (occupant.automatic and not occupant.pinned and occupant.state in (LOADING, READY)) or occupant.expired(now)


def _serves(occupant: Occupant, want: Want) -> bool:
    named = want.instance_id is None or want.instance_id == occupant.instance_id
    return named and occupant.model_key == want.model_key and occupant.state in (LOADING, READY)


@dataclass(frozen=True, slots=True)
class _Room:
    """What is missing for `want` among `residents`: places and bytes, in one view of what leaves and what loads."""

    places: int
    bytes: int

    def fits(self, victims: Iterable[Occupant]) -> bool:
        places, size = self.places, self.bytes
        for each in victims:
            places -= each.automatic
            size -= each.size_bytes
        return places <= 0 and size <= 0

    def gain(self, victim: Occupant) -> float:
        """What its end would give of what is missing: of the places and of the bytes a share each."""
        place = float(victim.automatic) / self.places if self.places > 0 else 0.0
        return place + (min(victim.size_bytes, self.bytes) / self.bytes if self.bytes > 0 else 0.0)


def _missing(
    residents: Sequence[Occupant], want: Want, limits: Limits, *, strict: bool, settled: bool = False
) -> _Room:
    """strict: what leaves is still there. settled: engines that load have taken their memory already."""
    places = need = 0
    if want.automatic:
        counted = sum(1 for each in residents if each.automatic and (strict or each.state is not DRAINING))
        places = counted + 1 - limits.max_automatic
    if want.needed_bytes > 0 and not want.force:
        promised = sum(each.size_bytes for each in residents if _may_take(each, strict=strict, settled=settled))
        leaving = 0 if strict else sum(each.size_bytes for each in residents if each.state is DRAINING)
        need = want.needed_bytes - limits.available_bytes - leaving + promised
    return _Room(places, need)


def _may_take(occupant: Occupant, *, strict: bool, settled: bool) -> bool:
    if occupant.state is DRAINING:
        return strict and not occupant.loaded
    return occupant.state is LOADING and not (settled and occupant.started)


def _make_room(residents: Sequence[Occupant], want: Want, limits: Limits, now: float) -> Decision:
    missing = _missing(residents, want, limits, strict=False)
    idle = [each for each in residents if evictable(each, now) and each.started and not each.busy]
    free = [each for each in idle if not _stays(each, want, limits, now)]
    victims = _choose(missing, free, now)
    if victims is None:
        if _choose(missing, idle, now) is not None:
            return Wait("just back", until=min(each.stays_until for each in idle if each not in free))
        return _wait_or_refuse(residents, want, limits, now)
    if victims and _missing(residents, want, limits, strict=False, settled=True).fits(()):
        return Wait(
            "memory"
        )  # what loads may be counted twice (taken and promised): let it settle before evicting for it
    if not victims and not _missing(residents, want, limits, strict=True).fits(()):
        return Wait("unload")
    return Load(tuple(each.instance_id for each in victims))


def _stays(occupant: Occupant, want: Want, limits: Limits, now: float) -> bool:
    """Two models that take each other's place at every turn would only ever load. An order never waits for this."""
    return want.automatic and now < occupant.stays_until and want.waited < limits.patience and not occupant.expired(now)


def _choose(missing: _Room, candidates: Sequence[Occupant], now: float) -> tuple[Occupant, ...] | None:
    """Those who make room together at the least cost, none of them without need; None if all are too few.

    Cheapest first, for what each gives, is near the best choice, but for a single large one that costs less than all
    these together.
    """
    ranked = sorted(candidates, key=lambda each: _rank(missing, each, now))
    chosen: list[Occupant] = []
    for each in ranked:
        if missing.fits(chosen):
            break
        chosen.append(each)
    if not missing.fits(chosen):
        return None
    for each in reversed(tuple(chosen)):  # keep the cheapest among the victims: they came first
        others = [other for other in chosen if other is not each]
        if missing.fits(others):
            chosen = others
    alone = next((each for each in ranked if missing.fits((each,))), None)
    if alone is not None and len(chosen) > 1 and _cost(alone, now) < sum(_cost(each, now) for each in chosen):
        return (alone,)
    return tuple(chosen)


def _rank(missing: _Room, occupant: Occupant, now: float) -> tuple[bool, float, bool, float, str]:
    """Idle ones first, then by cost for what it gives; of equal ones the least recently used."""
    gain = missing.gain(occupant)
    price = _cost(occupant, now) / gain if gain else float("inf")
    return (occupant.busy, price, occupant.automatic, occupant.last_used, occupant.instance_id)


def _cost(occupant: Occupant, now: float) -> float:
    return 0.0 if occupant.expired(now) else occupant.cost


def within_reach(residents: Iterable[Occupant], limits: Limits, now: float) -> tuple[int, int]:
    """Bytes that are free, less those that are promised (it may be below 0), and bytes that would come free if all
    became idle and were evicted."""
    promised = returned = 0
    for each in residents:
        if each.state is DRAINING or evictable(each, now):
            returned += each.size_bytes if each.started else 0
        elif each.state is LOADING and not each.started:
            promised += each.size_bytes
    return limits.available_bytes - promised, returned


def _wait_or_refuse(residents: Sequence[Occupant], want: Want, limits: Limits, now: float) -> Decision:
    """Room may come when busy ones become idle and loads settle; if even all of that is too little, say so at once."""
    ever = [each for each in residents if evictable(each, now)]
    kept = [each for each in residents if each not in ever and each.state in (LOADING, READY)]
    available, returned = within_reach(residents, limits, now)
    no_place = want.automatic and sum(each.automatic for each in kept) >= limits.max_automatic
    no_memory = want.needed_bytes > max(0, available + returned) and not want.force
    if no_place or no_memory:
        names = tuple(each.instance_id for each in kept if each.automatic or not no_place)
        return Refuse(want.needed_bytes, max(0, available), returned, names, places=no_place)
    if want.waited < limits.patience:
        return Wait("busy")
    ready = [each for each in ever if each.state is READY]
    hold = _choose(_missing(residents, want, limits, strict=False, settled=True), ready, now) or ()
    return Wait("busy", tuple(each.instance_id for each in hold))
