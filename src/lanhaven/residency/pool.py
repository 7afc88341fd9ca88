"""The pool: leases, one load per model, room, idle TTLs.

Everything that decides is synchronous: between looking at the books and changing them there is no await, so that no
other task can come between. What takes time (loading, draining, unloading) runs in one task an instance (`life`), which
re-enters the books when it is done. A waiter is a future in the queue of one instance; whoever changes something
answers it or places it anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from lanhaven.errors import GatewayError
from lanhaven.events import EventBus, InferenceQueued
from lanhaven.providers.base import Loaded, Provider, Running
from lanhaven.residency import announce, policy, refusals
from lanhaven.residency.books import Books
from lanhaven.residency.breaker import Breakers
from lanhaven.residency.following import Following
from lanhaven.residency.forecast import NOT_HERE, Forecast, forecast
from lanhaven.residency.homes import Homes
from lanhaven.residency.lease import Lease
from lanhaven.residency.ledger import Ledger
from lanhaven.residency.life import Life, Upshots
from lanhaven.residency.outages import Outages
from lanhaven.residency.placing import Placing, awaited
from lanhaven.residency.reconcile import Drift, reconcile
from lanhaven.residency.resident import Phase, Resident
from lanhaven.residency.result import LoadResult
from lanhaven.residency.room import Deeds, Room
from lanhaven.residency.settings import PoolSettings
from lanhaven.residency.waiting import Order, Spec, Waiter
from lanhaven.types.models import Instance, LoadConfig, ModelInfo, Sampling

__all__ = ["Lease", "LoadResult", "Pool", "PoolSettings"]

_NO_CONFIG, _NO_SAMPLING = LoadConfig(), Sampling()


def _knows_none(_name: str) -> None:
    return None


class Pool:
    """Which instances exist, who uses them, what makes room for what. All errors raised are GatewayErrors.

    available_memory: bytes of this machine that engines may still take. clock: monotonic seconds. find_model: the
    catalog's look-up, for instances found running. owner: key of the model that a name is of. ledger: what loads take;
    by itself it knows only what it learns.
    """

    def __init__(
        self,
        providers: Mapping[str, Provider],
        bus: EventBus,
        settings: PoolSettings,
        *,
        available_memory: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
        find_model: Callable[[str], ModelInfo | None] = _knows_none,
        owner: Callable[[str], str | None] = _knows_none,
        ledger: Ledger | None = None,
    ) -> None:
        self._providers, self._bus, self._settings = providers, bus, settings
        self._clock, self._find_model, self._available_memory = clock, find_model, available_memory
        self._books, self._homes = Books(owner), Homes()
        self.ledger = ledger or Ledger(providers)
        self._breakers = Breakers(settings.breaker_failures, settings.breaker_window, settings.breaker_pause)
        upshots = Upshots(
            emit=bus.emit,
            serve=lambda resident: self._placing.serve(resident),
            place=self._place,
            changed=lambda: self._room.give(),
        )
        self._life = life = Life(self._books, self._breakers, settings, self.ledger, upshots, clock)
        self._placing = Placing(
            providers,
            self._books,
            self._breakers,
            settings,
            life,
            self.ledger,
            clock=clock,
            freed=self._freed,
            changed=upshots.changed,
        )
        serve = self._placing.serve
        self.outages = Outages(self._books, settings, clock, emit=bus.emit, place=self._place, serve=serve)
        deeds = Deeds(start=life.start, end=life.end, refuse=life.failed, serve=serve)
        self._room = Room(self._books, settings, self.ledger, deeds, available_memory=available_memory, clock=clock)
        self.following = Following(self._books, self._room, life, clock)
        self._closing = False

    # Reading.

    @property
    def max_automatic(self) -> int:
        return self._room.max_automatic

    def ids(self) -> Mapping[str, str]:
        """Instance id -> model key: a live, read-only view."""
        return self._books.keys

    def free_id(self, model_key: str) -> str:
        """An identifier for a new instance."""
        return self._books.free_id(model_key)

    def get(self, instance_id: str) -> Instance | None:
        resident = self._books.get(instance_id)
        return resident.instance() if resident is not None else None

    def instances(self) -> list[Instance]:
        """Snapshots of all, in the order they came."""
        return [each.instance() for each in self._books]

    def occupants(self) -> list[policy.Occupant]:
        """Who holds memory of this machine, or has it promised."""
        return self._books.occupants()

    def forecast(self, info: ModelInfo, config: LoadConfig) -> Forecast:
        """What would become of an order to load it now. Nothing is promised."""
        if info.unavailable is not None or info.provider not in self._providers:
            return NOT_HERE
        limits = policy.Limits(max_automatic=self.max_automatic, available_bytes=self._available_memory())
        return forecast(self.ledger, self._books.occupants(), info, config, limits, self._clock())

    def breakers(self) -> dict[str, str]:
        """Model key -> "open for 12 s", for the models that failed lately."""
        return self._breakers.states(self._clock())

    def __repr__(self) -> str:
        automatic = sum(each.automatic for each in self._books.occupants())
        waiting = sum(each.waiting for each in self._books)
        residents = ", ".join(repr(each) for each in self._books)
        breakers = "".join(f" breaker {key}: {state}" for key, state in self.breakers().items())
        closing = " closing" if self._closing else ""
        return f"Pool({automatic}/{self.max_automatic} automatic, {waiting} waiting{closing} [{residents}]{breakers})"

    # Leases.

    async def lease(
        self,
        info: ModelInfo,
        *,
        request_id: str,
        instance_id: str | None = None,
        wait: float,
        only: bool = False,
        affinity: str | None = None,
    ) -> Lease:
        """The right to use an instance of the model, loading it if need be. Waits up to `wait` seconds.

        instance_id: this very instance; an unknown one is a ModelNotFound, unless it is the model's own key. The first
        instance is called that too, so it means any of them, as long as they all answer alike.
        only: this very instance in any case, no other in its stead; ModelUnloaded if it is gone, or on its way.
        affinity: what requests of one conversation have in common: while the instance that served the first of them is
        there and has a free slot, it gets them all, because it has their prompt cache.
        """
        if instance_id == info.key and not only and self._books.interchangeable(info.key):
            instance_id = None
        home = self._homes.of(info.key, affinity)
        resident = self._books.server(info.key, instance_id, home)
        if resident is not None and not (only and resident.instance_id != instance_id):
            lease = resident.grant(0.0)
        else:
            lease = await self._in_turn(info, request_id, instance_id, wait, only=only)
        if affinity is not None and not self._books.is_home(info.key, home):
            self._homes.settle(info.key, affinity, lease.instance_id)
        return lease

    async def _in_turn(
        self, info: ModelInfo, request_id: str, instance_id: str | None, wait: float, *, only: bool
    ) -> Lease:
        since = self._clock()
        told = False
        while True:
            waiter = Waiter(info=info, instance_id=instance_id, since=since, only=only)
            if (left := since + wait - self._clock()) <= 0:
                raise refusals.queue_timeout(info.key, self._clock() - since, "a slot or a load", 1.0)
            self._place(waiter)
            if not told and waiter.resident is not None:
                told = True
                waiting = waiter.resident.waiting
                self._bus.emit(InferenceQueued(request_id=request_id, model_key=info.key, waiting=waiting))
            await self._answered(waiter, left)
            lease = waiter.answer.result()
            if lease.broken is None:
                return lease
            lease.release()  # the instance ended before its waiter woke up: nothing was sent, so wait on

    async def _answered(self, waiter: Waiter | Order, seconds: float) -> None:
        """Wait for the answer; leave cleanly at the end of time, and when the caller is cancelled."""
        timer, answered = None, False
        if seconds < float("inf"):
            timer = asyncio.get_running_loop().call_later(seconds, self._late, waiter)
        try:
            await waiter.answer
            answered = True
        finally:
            if timer is not None:
                timer.cancel()
            if not answered:
                self._leave(waiter)

    def _late(self, waiter: Waiter | Order) -> None:
        """A waiter's time is up. A load that runs goes on: the client is told to come back, and shall find it."""
        resident = waiter.resident
        loading = resident is not None and resident.phase is Phase.LOADING
        if not waiter.open or resident is None or (loading and isinstance(waiter, Order)):
            return  # an order's time is for room; a load has deadlines of its own
        now, what = self._clock(), awaited(resident)
        waiter.fail(refusals.queue_timeout(waiter.info.key, now - waiter.since, what, resident.retry_after()))
        resident.forget(waiter)
        if not loading:
            self._placing.stop_unwanted(resident)
        self._room.give()

    def _leave(self, waiter: Waiter | Order) -> None:
        """A waiter goes, for whatever reason: what it was given is given back, what only it waited for is stopped."""
        given = waiter.given()
        if isinstance(given, Lease):
            given.release()
        elif (resident := waiter.resident) is not None:
            resident.forget(waiter)
            self._placing.stop_unwanted(resident)
            self._room.give()

    def _place(self, waiter: Waiter | Order) -> None:
        """Let it wait for the right instance; if there is a new one, or it is wanted otherwise, see about its room."""
        if self._closing:
            raise refusals.shutdown()
        before = self._books.changes
        self._placing.place(waiter)
        if isinstance(waiter, Order) or self._books.changes != before:
            self._room.give()

    def _freed(self, resident: Resident) -> None:
        """A lease came back. On the hot path: does nothing where nobody waits."""
        if resident.phase is Phase.READY:
            if resident.waiters or self._books.crowded(resident):
                self._placing.serve(resident)
            if self._books.roomless and not resident.leases:
                self._room.give()
        elif not resident.leases:
            resident.empty.set()

    # Orders.

    async def load(
        self,
        info: ModelInfo,
        *,
        instance_id: str | None = None,
        config: LoadConfig = _NO_CONFIG,
        sampling: Sampling = _NO_SAMPLING,
        automatic: bool = False,
        pinned: bool = False,
        force: bool = False,
        wait: float | None = None,
        activated: bool = False,
    ) -> LoadResult:
        """Load on order. InstanceConflict if `instance_id` exists; without one, an instance loaded alike is reused.

        wait: seconds it may wait for room (default: `room_wait`). force: memory is not looked at. activated: said
        in the event. When the last who waits for a load is cancelled, the load is stopped.
        """
        if automatic:
            self._breakers.check(info.key, self._clock())
        else:
            self._breakers.reset(info.key)
        spec = Spec(
            info=info, config=config.over(info.load), sampling=sampling, automatic=automatic, pinned=pinned, force=force
        )
        order = Order(spec=spec, instance_id=instance_id, activated=activated, since=self._clock())
        try:
            self._place(order)
        except GatewayError as error:
            self._bus.emit(announce.refused("model_load", info, error))
            raise
        await self._answered(order, self._settings.room_wait if wait is None else wait)
        return order.result(self._clock())

    async def unload(self, instance_id: str, *, force: bool = False, reason: str = "request") -> bool:
        """End an instance: no new requests, then wait for the running ones (not with `force`), then it is gone.

        False if there is none. Concurrent calls join. Raises the provider's error if it could not end it.
        """
        resident = self._books.get(instance_id)
        if resident is None:
            return False
        self._dismiss(resident, reason, refusals.unloaded(instance_id), 0.0 if force else self._settings.drain_timeout)
        self._room.give()
        if force:
            resident.empty.set()
        await resident.gone.wait()
        if resident.unload_error is not None:
            raise refusals.fresh(resident.unload_error)
        return True

    def _dismiss(self, resident: Resident, reason: str, error: GatewayError, drain: float) -> None:
        resident.dismissed = True
        self._life.fail_waiting(resident, error)
        if resident.phase in (Phase.LOADING, Phase.READY):
            self._life.end(resident, reason, error=error, drain=drain)
        elif resident.phase is not Phase.DRAINING:
            self._life.drop(resident)

    def set_sampling(self, instance_id: str, sampling: Sampling) -> None:
        """Replace the instance's own defaults. ModelNotFound."""
        self._named(instance_id).sampling = sampling

    def set_pinned(self, instance_id: str, pinned: bool) -> None:
        """Pinned: neither evicted nor ended by its TTL. ModelNotFound."""
        self._named(instance_id).pinned = pinned
        self._room.give()

    def set_idle_ttl(self, instance_id: str, seconds: float | None) -> None:
        """Seconds without a request that end the instance; 0 = never, None = as for all. ModelNotFound."""
        self._named(instance_id).set_idle_ttl(seconds)

    def _named(self, instance_id: str) -> Resident:
        resident = self._books.get(instance_id)
        if resident is None:
            raise refusals.no_instance(instance_id)
        return resident

    def judge(self, lease: Lease, error: GatewayError | None, request: bytes = b"") -> None:
        """How the request of a lease ended: well (None), or with this error. `request` tells it from others."""
        resident = self._books.get(lease.instance_id)
        if resident is not None and lease in resident.leases:
            self._life.judge(resident, error, request)
            self.outages.judge(resident, error)

    async def cause(self, lease: Lease | None, error: GatewayError, grace: float) -> GatewayError | None:
        """Why the instance ended, if that is what `error` came from. An upstream that says that it has the instance no
        more (facts: gone) is no proof; its provider is asked what runs (F-023)."""
        if lease is None:
            return None
        if error.facts.get("gone") and (resident := self._books.get(lease.instance_id)) is not None:
            await reconcile({resident.info.provider: resident.provider}, self._books, self._amend)
        return await lease.cause(grace)

    # The whole.

    async def sweep(self) -> None:
        """One step: end what its idle TTL has ended, then compare the books with what the providers say."""
        if self._closing:
            return
        for resident, reason in self.following.over():
            self._life.end(resident, reason)
        await reconcile(self._providers, self._books, self._amend)
        self._room.give()

    def _amend(self, provider: str, drift: Drift) -> None:
        for resident, size_bytes in drift.sizes:
            self.ledger.saw(resident.info, resident.config, size_bytes)
        for resident in drift.gone:
            drain = self._settings.drain_timeout if resident.standing else 0.0
            self._life.end(resident, "gone", error=refusals.gone(resident.instance_id), drain=drain)
        for running in drift.unknown:
            self._adopt(provider, running)
        self.outages.heed(drift.told)

    def _adopt(self, provider: str, running: Running) -> None:
        """An instance that somebody else loaded: it serves, is not counted and not evicted. Not one whose model's key
        is, in models.yaml, that of another provider's model, and none of a model that cannot be used."""
        info = self._find_model(running.model_key)
        if info is None or info.provider != provider or running.upstream is None or self._closing:
            return
        spec = Spec(info=info, config=running.load_config, sampling=info.sampling)
        try:
            resident = self._placing.make(spec, running.instance_id)
        except GatewayError:  # said where the model is listed; the others must not go without for it
            return
        resident.adopted, resident.standing = running.foreign, not running.foreign
        self._books.add(resident)
        self._life.ready(resident, Loaded(running.upstream, running.load_config, running.size_bytes), 0.0)

    async def aclose(self, drain: float) -> None:
        """Refuse new requests, wait up to `drain` seconds for running ones, end everything. Concurrent calls join."""
        self._closing = True
        leaving = list(self._books)
        for resident in leaving:
            self._dismiss(resident, "shutdown", refusals.shutdown(), drain)
        self._room.give()
        timer = asyncio.get_running_loop().call_later(drain, _hurry, leaving)
        try:
            for resident in leaving:
                await resident.gone.wait()
        finally:
            timer.cancel()


def _hurry(residents: list[Resident]) -> None:
    """Those that drained already before the shutdown get no more time than the others."""
    for resident in residents:
        resident.empty.set()
