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

from lanhaven.errors import GatewayError, ProviderUnavailable
from lanhaven.events import EventBus, InferenceQueued
from lanhaven.providers.base import Loaded, Provider, Running
from lanhaven.residency import policy, refusals
from lanhaven.residency.books import Books, coming, same_load
from lanhaven.residency.breaker import Breakers
from lanhaven.residency.lease import Lease
from lanhaven.residency.life import Life, Upshots
from lanhaven.residency.reconcile import Drift, reconcile
from lanhaven.residency.resident import Phase, Resident
from lanhaven.residency.result import LoadResult
from lanhaven.residency.room import Deeds, Room
from lanhaven.residency.settings import PoolSettings
from lanhaven.residency.waiting import Order, Spec, Waiter
from lanhaven.types.models import Instance, LoadConfig, ModelInfo, Sampling, Upstream

__all__ = ["Lease", "LoadResult", "Pool", "PoolSettings"]

_NO_CONFIG, _NO_SAMPLING = LoadConfig(), Sampling()


def _knows_none(_key: str) -> ModelInfo | None:
    return None


class Pool:
    """Which instances exist, who uses them, what makes room for what. All errors raised are GatewayErrors.

    available_memory: bytes of this machine that engines may still take. clock: monotonic seconds. find_model: the
    catalog's look-up, for instances found running.
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
    ) -> None:
        self._providers, self._bus, self._settings = providers, bus, settings
        self._clock, self._find_model = clock, find_model
        self._books = Books()
        self._breakers = Breakers(settings.breaker_failures, settings.breaker_window, settings.breaker_pause)
        upshots = Upshots(
            emit=bus.emit, serve=self._serve_waiters, place=self._place, changed=lambda: self._room.give()
        )
        self._life = Life(self._books, self._breakers, settings, upshots, clock)
        deeds = Deeds(start=self._life.start, end=self._life.end, refuse=self._life.failed, serve=self._serve_waiters)
        self._room = Room(self._books, settings, deeds, available_memory=available_memory, clock=clock)
        self._closing = False

    # Reading.

    @property
    def max_automatic(self) -> int:
        return self._settings.max_automatic

    def ids(self) -> Mapping[str, str]:
        """Instance id -> model key: a live, read-only view."""
        return self._books.keys

    def get(self, instance_id: str) -> Instance | None:
        resident = self._books.get(instance_id)
        return resident.instance() if resident is not None else None

    def instances(self) -> list[Instance]:
        """Snapshots of all, in the order they came."""
        return [each.instance() for each in self._books]

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

    async def lease(self, info: ModelInfo, *, request_id: str, instance_id: str | None = None, wait: float) -> Lease:
        """The right to use an instance of the model, loading it if need be. Waits up to `wait` seconds.

        instance_id: this very instance; an unknown one is a ModelNotFound, unless it is the model's own key.
        """
        resident = self._books.server(info.key, instance_id)
        if resident is not None:
            return resident.grant(0.0)
        since = self._clock()
        told = False
        while True:
            waiter = Waiter(info=info, instance_id=instance_id, since=since)
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
        now, awaited = self._clock(), _awaited(resident)
        waiter.fail(refusals.queue_timeout(waiter.info.key, now - waiter.since, awaited, resident.retry_after()))
        resident.forget(waiter)
        if not loading:
            self._stop_unwanted(resident)
        self._room.give()

    def _leave(self, waiter: Waiter | Order) -> None:
        """A waiter goes, for whatever reason: what it was given is given back, what only it waited for is stopped."""
        given = waiter.given()
        if isinstance(given, Lease):
            given.release()
        elif (resident := waiter.resident) is not None:
            resident.forget(waiter)
            self._stop_unwanted(resident)
            self._room.give()

    def _stop_unwanted(self, resident: Resident) -> None:
        if resident.wanted:
            return
        if resident in self._books.roomless:
            self._life.drop(resident)
        elif resident.phase is Phase.LOADING:
            self._life.end(resident, "abandoned")

    def _place(self, waiter: Waiter | Order) -> None:
        """Put it where it will be answered, or ask for a new instance for it."""
        info = waiter.info
        if self._closing:
            raise refusals.shutdown()
        provider = self._providers.get(info.provider)
        if provider is None:
            raise ProviderUnavailable(f"No provider {info.provider} runs here, which model {info.key} needs")
        if info.unavailable is not None:
            raise ProviderUnavailable(f"Model {info.key} cannot be loaded here: {info.unavailable}")
        if isinstance(waiter, Order):
            self._place_order(waiter, provider)
        else:
            self._place_request(waiter, provider)
        self._room.give()

    def _place_request(self, waiter: Waiter, provider: Provider) -> None:
        info = waiter.info
        target = self._books.target(info.key, waiter.instance_id)
        if target is None or target.phase is Phase.FAILED:
            self._breakers.check(info.key, self._clock())
        if target is None:
            spec = Spec(info=info, config=info.load, automatic=True, pinned=info.pinned)
            target = self._new(spec, provider, self._books.free_id(info.key))
        elif target.phase is Phase.FAILED:
            target = self._revive(target)
        depth = self._settings.queue_depth
        if target.waiting >= (depth if target.phase is Phase.READY else max(1, depth)):
            raise refusals.queue_full(info.key, target.waiting, target.retry_after())
        target.enqueue(waiter)
        self._serve_waiters(target)

    def _serve_waiters(self, resident: Resident) -> None:
        """Give free slots to those who wait: first its own, then those at another instance who named none."""
        while resident.has_slot:
            waiter = resident.next_waiter()
            if waiter is None and not resident.held:
                waiter = self._next_elsewhere(resident)
            if waiter is None:
                return
            waiter.answer.set_result(resident.grant(self._clock() - waiter.since))

    def _next_elsewhere(self, resident: Resident) -> Waiter | None:
        for other in self._books.of(resident.info.key):
            if other is not resident and (waiter := other.next_waiter(unnamed=True)) is not None:
                self._stop_unwanted(other)
                return waiter
        return None

    def _freed(self, resident: Resident) -> None:
        """A lease came back. On the hot path: does nothing where nobody waits."""
        if resident.phase is Phase.READY:
            if resident.waiters or self._books.crowded(resident):
                self._serve_waiters(resident)
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

        wait: seconds it may wait for room (default: the drain timeout). force: memory is not looked at. activated: said
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
        self._place(order)
        await self._answered(order, self._settings.drain_timeout if wait is None else wait)
        return order.result(self._clock())

    def _place_order(self, order: Order, provider: Provider) -> None:
        name, spec, key = order.instance_id, order.spec, order.info.key
        found = self._books.alike(key, spec.config) if name is None else self._books.get(name)
        if found is not None and found.phase is Phase.FAILED:
            self._life.drop(found, for_good=True)
            found = None
        if found is None:
            self._new(spec, provider, name or self._books.free_id(key)).join(order)
        elif found.phase is Phase.DRAINING:
            found.join(order)  # placed anew when it is gone
        elif name is None or (coming(found) and found.info.key == key and same_load(found, spec.config)):
            order.reused = True
            found.adjust(order)
            found.join(order)
        else:
            raise refusals.conflict(found.info.key, found.instance_id)

    def _new(self, spec: Spec, provider: Provider, instance_id: str) -> Resident:
        resident = Resident(
            spec,
            provider,
            instance_id,
            estimate=provider.estimate(spec.info, spec.config),
            default_ttl=self._settings.idle_ttl,
            clock=self._clock,
            freed=self._freed,
        )
        self._books.add(resident)
        return resident

    def _revive(self, failed: Resident) -> Resident:
        """Bring an explicit instance back whose engine had crashed, as it was."""
        self._life.drop(failed, for_good=True)
        resident = self._new(failed.spec(), failed.provider, failed.instance_id)
        resident.revived = True
        return resident

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

    def _named(self, instance_id: str) -> Resident:
        resident = self._books.get(instance_id)
        if resident is None:
            raise refusals.no_instance(instance_id)
        return resident

    def report_gone(self, instance_id: str, error: GatewayError, upstream: Upstream | None = None) -> None:
        """A request found the instance's upstream dead. With `upstream`, a later instance of that name is spared."""
        resident = self._books.get(instance_id)
        if resident is not None and upstream in (None, resident.upstream):
            self._life.crashed(resident, error)

    # The whole.

    async def sweep(self) -> None:
        """One step: end what its idle TTL has ended, then compare the books with what the providers say."""
        if self._closing:
            return
        for instance_id in policy.expired(self._books.occupants(), self._clock()):
            self._life.end(self._named(instance_id), "idle")
        await reconcile(self._providers, self._books, self._amend)
        self._room.give()

    def _amend(self, drift: Drift) -> None:
        for resident in drift.gone:
            self._life.end(resident, "gone")
        for running in drift.unknown:
            self._adopt(running)

    def _adopt(self, running: Running) -> None:
        """An instance that somebody else loaded: it serves, is not counted and not evicted."""
        info = self._find_model(running.model_key)
        provider = self._providers.get(info.provider) if info is not None else None
        if info is None or provider is None or running.upstream is None or self._closing:
            return
        resident = self._new(Spec(info=info, config=running.load_config), provider, running.instance_id)
        self._life.ready(resident, Loaded(running.upstream, running.load_config, running.size_bytes), 0.0)

    async def run(self, interval: float = 5.0) -> None:
        """Sweep every `interval` seconds until cancelled."""
        while True:
            await asyncio.sleep(interval)
            await self.sweep()

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


def _awaited(resident: Resident) -> str:
    if resident.phase is Phase.READY:
        return "a model that was asked for earlier" if resident.held else "a slot"
    return {Phase.LOADING: "the load", Phase.DRAINING: "the unload"}.get(resident.phase, "room")
