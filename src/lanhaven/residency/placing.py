"""Where those who wait go: to an instance that is there, on its way or leaving, or to a new one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lanhaven.errors import ProviderUnavailable
from lanhaven.providers.base import Provider
from lanhaven.residency import refusals
from lanhaven.residency.books import Books, coming, same_load
from lanhaven.residency.breaker import Breakers
from lanhaven.residency.habits import Habits
from lanhaven.residency.ledger import Ledger
from lanhaven.residency.life import Life
from lanhaven.residency.resident import Phase, Resident
from lanhaven.residency.settings import PoolSettings
from lanhaven.residency.waiting import Order, Spec, Waiter
from lanhaven.types.models import ModelInfo


class Placing:
    """Synchronous, and it starts nothing: a new instance waits for room. Raises GatewayErrors."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        books: Books,
        breakers: Breakers,
        settings: PoolSettings,
        life: Life,
        ledger: Ledger,
        *,
        clock: Callable[[], float],
        freed: Callable[[Resident], None],
        changed: Callable[[], None],
    ) -> None:
        self._providers, self._books, self._breakers = providers, books, breakers
        self._settings, self._life, self._ledger, self._habits = settings, life, ledger, Habits()
        self._clock, self._freed, self._changed = clock, freed, changed

    def place(self, waiter: Waiter | Order) -> None:
        """Put it into the queue of the instance that will answer it."""
        if isinstance(waiter, Order):
            self._place_order(waiter)
        else:
            self._place_request(waiter)

    def _place_request(self, waiter: Waiter) -> None:
        info = waiter.info
        target = self._books.target(info.key, waiter.instance_id)
        if waiter.only and not _is_there(target, waiter.instance_id):
            raise refusals.unloaded(waiter.instance_id or info.key)
        if target is not None and target.resting:
            raise refusals.resting(info.key, self._books.of(info.key), self._clock())
        if target is None or target.phase is Phase.FAILED:
            self._breakers.check(info.key, self._clock())
        if target is None:
            spec = Spec(info=info, config=info.load, sampling=info.sampling, automatic=True, pinned=info.pinned)
            target = self._new(spec, None)
        elif target.phase is Phase.FAILED:
            target = self._revive(target)
        depth = self._settings.queue_depth
        if target.waiting >= (depth if target.phase is Phase.READY else max(1, depth)):
            raise refusals.queue_full(info.key, target.waiting, target.retry_after())
        target.enqueue(waiter)
        self.serve(target)

    def _place_order(self, order: Order) -> None:
        name, spec, key = order.instance_id, order.spec, order.info.key
        found = self._books.alike(key, spec.config) if name is None else self._books.get(name)
        if found is None or found.phase is Phase.FAILED:
            self._new(spec, name, instead_of=found).join(order)
        elif found.phase is Phase.DRAINING:
            found.join(order)  # placed anew when it is gone
        elif name is None or (coming(found) and found.info.key == key and same_load(found, spec.config)):
            order.reused = True
            found.adjust(order)
            found.join(order)
        else:
            raise refusals.conflict(found.info.key, found.instance_id)

    def _revive(self, failed: Resident) -> Resident:
        """Bring an explicit instance back whose engine had crashed, as it was."""
        resident = self._new(failed.spec(), failed.instance_id, instead_of=failed)
        resident.revived, resident.profile, resident.outdated = True, failed.profile, failed.outdated
        return resident

    def _new(self, spec: Spec, instance_id: str | None, *, instead_of: Resident | None = None) -> Resident:
        resident = self.make(spec, instance_id or self._books.free_id(spec.info.key))
        if instead_of is not None:
            self._life.drop(instead_of, for_good=True)
        self._books.add(resident)
        return resident

    def make(self, spec: Spec, instance_id: str) -> Resident:
        """An instance that is not in the books yet."""
        provider, habit = self._provider(spec.info), self._habits[spec.info.key]
        return Resident(
            spec,
            provider,
            instance_id,
            need=self._ledger.need(spec.info, spec.config),
            habit=habit,
            contested=habit.came_back(self._clock()) and any(each.in_use for each in self._books),
            default_ttl=self._settings.idle_ttl,
            clock=self._clock,
            freed=self._freed,
        )

    def _provider(self, info: ModelInfo) -> Provider:
        provider = self._providers.get(info.provider)
        if provider is None:
            raise ProviderUnavailable(f"No provider {info.provider} runs here, which model {info.key} needs")
        if info.unavailable is not None:
            raise ProviderUnavailable(f"Model {info.key} cannot be loaded here: {info.unavailable}", retry=False)
        return provider

    def serve(self, resident: Resident) -> None:
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
            if other is not resident and (waiter := other.next_unnamed()) is not None:
                self.stop_unwanted(other)
                return waiter
        return None

    def stop_unwanted(self, resident: Resident) -> None:
        """End a load that nobody waits for any more; what waited behind it may go."""
        if resident.wanted:
            return
        if resident in self._books.roomless:
            self._life.drop(resident)
            self._changed()
        elif resident.phase is Phase.LOADING:
            self._life.end(resident, "abandoned")


def awaited(resident: Resident) -> str:
    """What those at this instance wait for."""
    if resident.phase is Phase.READY:
        return "a model that was asked for earlier" if resident.held else "a slot"
    return {Phase.LOADING: "the load", Phase.DRAINING: "the unload"}.get(resident.phase, "room")


def _is_there(target: Resident | None, instance_id: str | None) -> bool:
    """Whether it is the instance of this name, and stays. One whose engine failed comes back as it was."""
    return target is not None and target.instance_id == instance_id and target.phase is not Phase.DRAINING
