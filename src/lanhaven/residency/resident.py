"""One instance in the pool's books, from the wish for it until it is gone."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum

from lanhaven.errors import GatewayError, InternalError
from lanhaven.providers.base import Loaded, Provider
from lanhaven.residency.breaker import Breaker
from lanhaven.residency.habits import Habit, stay
from lanhaven.residency.lease import Lease
from lanhaven.residency.ledger import Need
from lanhaven.residency.policy import Occupant
from lanhaven.residency.waiting import Order, Spec, Waiter
from lanhaven.types.models import Instance, InstanceState, Upstream


class Phase(StrEnum):
    """Finer than InstanceState: QUEUED holds nothing yet, RESERVED has room promised, LOADING has an engine."""

    QUEUED = "queued"
    RESERVED = "reserved"
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"  # an explicit instance whose engine crashed: the next request for it revives it
    GONE = "gone"


_STATES = {
    Phase.QUEUED: InstanceState.LOADING,
    Phase.RESERVED: InstanceState.LOADING,
    Phase.LOADING: InstanceState.LOADING,
    Phase.READY: InstanceState.READY,
    Phase.DRAINING: InstanceState.DRAINING,
    Phase.FAILED: InstanceState.FAILED,
    Phase.GONE: InstanceState.FAILED,
}

# The legal edges (I12). Whatever has started an engine ends through DRAINING, or by its own failed load.
_EDGES = {
    Phase.QUEUED: {Phase.RESERVED, Phase.LOADING, Phase.READY, Phase.FAILED, Phase.GONE},  # READY: found running
    Phase.RESERVED: {Phase.LOADING, Phase.FAILED, Phase.GONE},
    Phase.LOADING: {Phase.READY, Phase.DRAINING, Phase.FAILED, Phase.GONE},
    Phase.READY: {Phase.DRAINING},
    Phase.DRAINING: {Phase.FAILED, Phase.GONE},
    Phase.FAILED: {Phase.GONE},
    Phase.GONE: set[Phase](),
}

# Reasons of an end after which an explicit instance stays listed, to be revived.
_COMES_BACK = frozenset({"", "crashed", "abandoned", "failing"})


class Resident:
    """State and its transitions; what is decided about it is decided elsewhere. All times are monotonic seconds.

    need: what its load takes, as far as is known. habit: how its model is used. contested: it had to make room just
    now, and is wanted again while others are in use. default_ttl: what holds while it is automatic and its load config
    silent. freed: told when a lease comes back.
    """

    def __init__(
        self,
        spec: Spec,
        provider: Provider,
        instance_id: str,
        *,
        need: Need,
        habit: Habit,
        contested: bool,
        default_ttl: float,
        clock: Callable[[], float],
        freed: Callable[[Resident], None],
    ) -> None:
        self.info, self.provider, self.instance_id = spec.info, provider, instance_id
        self.config = self.load_config = spec.config  # as asked for, and as it is
        self.sampling = spec.sampling
        self.automatic, self.pinned, self.force = spec.automatic, spec.pinned, spec.force
        self.profile = spec.info  # the model as models.yaml has it now; `info` is as it was loaded
        self.retired = ""  # why it ends when nobody uses it: its model was "removed" from models.yaml, or "changed"
        self.outdated = False  # it would be loaded otherwise now
        self.estimate, self.default_ttl = need.bytes, default_ttl  # by which it was admitted
        self.habit, self.need = habit, need
        self.phase = Phase.QUEUED
        self.since = self.last_used = clock()
        self.contested = contested
        self.leases: dict[Lease, None] = {}  # a set that keeps its order
        self.waiters: deque[Waiter] = deque()  # for this instance: a slot, or its load
        self.parked: deque[Waiter] = deque()  # came while it leaves, or is held: placed anew when it is gone
        self.orders: list[Order] = []
        self.held = False
        self.breaker: Breaker | None = None  # of its upstream, where others can serve in its stead
        self.upstream: Upstream | None = None
        self.slots: int | None = None
        self.loaded: Loaded | None = None
        self.loaded_at: float | None = None
        self.progress: float | None = None
        self.stage: str | None = None
        self.error: GatewayError | None = None
        self.unload_error: GatewayError | None = None
        self.reason = ""  # why it drains
        self.revived = False  # it is back for a request after its engine had crashed
        self.adopted = False  # somebody else loaded it: the end of this server is not its end
        self.standing = False  # it was there without a load, and is ours to end: a server that others run
        self.dismissed = False  # an operator or the shutdown ended it: nothing revives it
        self.load_task: asyncio.Task[None] | None = None
        self.empty = asyncio.Event()  # while draining: no lease left, or no time left
        self.gone = asyncio.Event()
        self.lease_seconds = 1.0  # how long a lease lasts, smoothed: the base of Retry-After
        self._clock, self._freed = clock, freed

    # Life.

    def move(self, phase: Phase) -> None:
        if phase not in _EDGES[self.phase]:
            raise InternalError(f"Instance {self.instance_id} cannot go from {self.phase} to {phase}")
        self.phase = phase
        if phase in (Phase.GONE, Phase.FAILED):
            self.gone.set()

    def settle(self, loaded: Loaded) -> None:
        """The engine takes requests."""
        self.move(Phase.READY)
        self.loaded, self.upstream, self.slots = loaded, loaded.upstream, loaded.upstream.slots
        self.load_config = loaded.load_config
        self.loaded_at = self.last_used = self._clock()
        self.stage, self.progress, self.error = None, None, None

    def leave(self, reason: str) -> None:
        """No new requests; those who wait for it are placed anew when it is gone."""
        self.move(Phase.DRAINING)
        self.reason, self.held = reason, False
        self.parked = deque(sorted((*self.waiters, *self.parked), key=lambda each: each.since))
        self.waiters.clear()
        if not self.leases:
            self.empty.set()

    async def drained(self, seconds: float) -> None:
        """Wait until no lease is out, at most so long, or until somebody is in a hurry."""
        if seconds <= 0 or self.empty.is_set():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.empty.wait()

    @property
    def revivable(self) -> bool:
        """An explicit instance stays listed, as failed, when its engine crashes; the next request brings it back."""
        was_there = self.loaded is not None or self.revived
        return was_there and not self.automatic and not self.dismissed and self.reason in _COMES_BACK

    def spec(self) -> Spec:
        """What to load to have it again."""
        return Spec(
            info=self.info,
            config=self.config,
            sampling=self.sampling,
            automatic=self.automatic,
            pinned=self.pinned,
            force=self.force,
        )

    # Serving.

    @property
    def has_slot(self) -> bool:
        return self.phase is Phase.READY and (self.slots is None or len(self.leases) < self.slots) and not self.resting

    @property
    def resting(self) -> bool:
        """Its upstream is left alone for a while: it does not answer, or takes no requests."""
        return self.breaker is not None and self.breaker.seconds_left(self._clock()) > 0

    @property
    def takes(self) -> bool:
        """Whether a new request gets a lease at once."""
        return self.has_slot and not self.held

    def grant(self, waited: float) -> Lease:
        """Give a lease; the caller has seen that it has a slot."""
        if self.upstream is None:
            raise InternalError(f"Instance {self.instance_id} is {self.phase} and has no upstream")
        self.last_used = now = self._clock()
        self.habit.used(now)
        lease = Lease(self, self.upstream, now, waited)
        self.leases[lease] = None
        return lease

    def give_back(self, lease: Lease) -> None:
        if lease not in self.leases:
            return  # broken before
        del self.leases[lease]
        self.last_used = now = self._clock()
        self.lease_seconds += (now - lease.since - self.lease_seconds) / 8
        self._freed(self)

    def abort(self, error: GatewayError) -> None:
        """Break every lease that is out."""
        broken, self.leases = self.leases, {}
        for lease in broken:
            lease.abort(error)

    # Waiting.

    @property
    def waiting(self) -> int:
        return len(self.waiters) + len(self.parked)

    @property
    def wanted(self) -> bool:
        """Somebody waits for this very instance."""
        return bool(self.waiters or self.orders)

    @property
    def in_use(self) -> bool:
        """Somebody uses it or waits for it."""
        return bool(self.leases or self.wanted)

    def enqueue(self, waiter: Waiter) -> None:
        """In order of arrival: one that was placed anew keeps its turn."""
        queue = self.parked if self.held or self.phase is Phase.DRAINING else self.waiters
        at = len(queue)
        while at and queue[at - 1].since > waiter.since:
            at -= 1
        queue.insert(at, waiter)
        waiter.resident = self
        self.since = min(self.since, waiter.since)

    def join(self, order: Order) -> None:
        """An order waits until it is ready (or gone, if it leaves), or has what it wants at once."""
        if self.phase is Phase.READY:
            order.fulfil(self)
            return
        self.orders.append(order)
        order.resident = self
        self.since = min(self.since, order.since)

    def adjust(self, order: Order) -> None:
        """An order for what is there, or on its way: what was automatic is now ordered."""
        spec = order.spec
        self.automatic = self.automatic and spec.automatic
        self.pinned = self.pinned or spec.pinned
        self.force = self.force or spec.force
        self.sampling = spec.sampling if spec.sampling.said() else self.sampling
        if spec.config.idle_ttl is not None:
            self.set_idle_ttl(spec.config.idle_ttl)
        self.last_used = self._clock()

    def set_idle_ttl(self, seconds: float | None) -> None:
        """It changes in place: no engine knows of it."""
        self.config = replace(self.config, idle_ttl=seconds)
        self.load_config = replace(self.load_config, idle_ttl=seconds)

    def fulfil_orders(self) -> None:
        while self.orders:
            self.orders.pop(0).fulfil(self)

    def forget(self, waiter: Waiter | Order) -> None:
        """A waiter leaves by itself; the turn for room is that of the oldest who is left."""
        waiter.resident = None
        if isinstance(waiter, Order):
            self.orders.remove(waiter)
        elif waiter in self.waiters:
            self.waiters.remove(waiter)
        elif waiter in self.parked:
            self.parked.remove(waiter)
        if self.phase is not Phase.READY:
            self.since = min((each.since for each in self._everyone()), default=self.since)
            self.last_used = self._clock()

    def _everyone(self) -> list[Waiter | Order]:
        return [*self.waiters, *self.parked, *self.orders]

    def take_waiting(self) -> list[Waiter | Order]:
        """All who wait, oldest first, taken off the books of this instance."""
        everyone = sorted(self._everyone(), key=lambda each: each.since)
        self.waiters.clear()
        self.parked.clear()
        self.orders.clear()
        for each in everyone:
            each.resident = None
        return everyone

    def next_waiter(self) -> Waiter | None:
        """The oldest who still waits for this instance, taken off the queue."""
        return _take(self.waiters, lambda _waiter: True)

    def next_unnamed(self) -> Waiter | None:
        """The oldest whom another instance may serve as well, taken off the queue."""
        return _take(self.waiters, _unnamed) or _take(self.parked, _unnamed)

    def hold(self, held: bool) -> None:
        """Held, it takes no new requests, so that it becomes idle; those who came meanwhile are served afterwards."""
        self.held = held
        if not held and self.phase is Phase.READY:
            self.waiters.extend(self.parked)
            self.parked.clear()

    def retry_after(self) -> float:
        """Seconds until a slot is likely free for one more."""
        return min(60.0, max(1.0, self.lease_seconds * (self.waiting + 1) / (self.slots or 1)))

    # Looking.

    @property
    def size_bytes(self) -> int:
        """What the provider reports, else the estimate; a failed instance takes nothing."""
        if self.phase is Phase.FAILED:
            return 0
        return (self.loaded.size_bytes if self.loaded is not None else 0) or self.estimate

    @property
    def expires_at(self) -> float | None:
        ttl = self.config.idle_ttl
        if ttl is None:
            ttl = self.default_ttl if self.automatic else 0.0
        idle = self.phase is Phase.READY and not self.in_use
        if self.retired:
            return self.last_used if idle else None
        return self.last_used + ttl if idle and ttl > 0 and not (self.pinned or self.standing) else None

    @property
    def stays_until(self) -> float:
        """Until when it makes no room for requests, so that models wanted by turns do not only load."""
        return self.loaded_at + stay(self.need.seconds) if self.contested and self.loaded_at is not None else 0.0

    def occupant(self) -> Occupant:
        """For the policy. An instance without an estimate takes no memory of this machine, whatever it reports."""
        return Occupant(
            instance_id=self.instance_id,
            model_key=self.info.key,
            state=_STATES[self.phase],
            automatic=self.automatic,
            pinned=self.pinned and not self.retired,
            size_bytes=self.size_bytes if self.estimate else 0,
            leases=len(self.leases),
            waiting=len(self.waiters) + len(self.orders),
            slots=self.slots,
            last_used=self.last_used,
            expires_at=self.expires_at,
            started=self.phase is not Phase.RESERVED,
            loaded=self.loaded is not None,
            held=self.held,
            reload_seconds=self.need.seconds,
            use_rate=self.habit.rate(self._clock(), self.last_used),
            stays_until=self.stays_until,
        )

    def instance(self) -> Instance:
        """For lists and replies. One that rests is shown as failed, with the reason."""
        resting = self.breaker if self.phase is Phase.READY and self.resting else None
        return Instance(
            instance_id=self.instance_id,
            model_key=self.info.key,
            provider=self.info.provider,
            kind=self.info.kind,
            state=InstanceState.FAILED if resting else _STATES[self.phase],
            load_config=self.load_config,
            sampling=self.sampling,
            automatic=self.automatic,
            pinned=self.pinned,
            size_bytes=self.size_bytes,
            leases=len(self.leases),
            waiting=self.waiting,
            slots=self.slots,
            loaded_at=self.loaded_at,
            last_used=self.last_used,
            expires_at=self.expires_at,
            progress=self.progress,
            stage=self.stage,
            ours=self.loaded is not None and self.loaded.ours,
            error=resting.last if resting else self.error.message if self.error else None,
            outdated=self.outdated,
        )

    def __repr__(self) -> str:
        said = (("automatic", self.automatic), ("pinned", self.pinned), ("held", self.held))
        marks = "".join(f" {mark}" for mark, true in said if true)
        return f"Resident({self.instance_id} {self.phase}{marks} leases={len(self.leases)} waiting={self.waiting})"


def _unnamed(waiter: Waiter) -> bool:
    return waiter.instance_id is None


def _take(queue: deque[Waiter], fits: Callable[[Waiter], bool]) -> Waiter | None:
    for each in [each for each in queue if not each.open]:
        queue.remove(each)  # cancelled; it still tells the pool where it waited
    for each in queue:
        if fits(each):
            queue.remove(each)
            each.resident = None
            return each
    return None
