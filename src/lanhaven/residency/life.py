"""What takes time in the life of an instance: loading, draining, unloading. One task each, which ends in the books."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from lanhaven.errors import GatewayError, InternalError, LoadFailed
from lanhaven.events import GatewayEvent
from lanhaven.providers.base import Loaded
from lanhaven.residency import announce, refusals
from lanhaven.residency.books import Books
from lanhaven.residency.breaker import Breakers, Faults
from lanhaven.residency.engine import LoadWatch, stop_loading, unload
from lanhaven.residency.ledger import Ledger
from lanhaven.residency.resident import Phase, Resident
from lanhaven.residency.settings import PoolSettings
from lanhaven.residency.waiting import Order, Waiter


@dataclass(frozen=True, slots=True, kw_only=True)
class Upshots:
    """What the pool does when something has changed."""

    emit: Callable[[GatewayEvent], None]
    serve: Callable[[Resident], None]  # there may be free slots
    place: Callable[[Waiter | Order], None]  # its instance is gone; raises GatewayErrors
    changed: Callable[[], None]  # there may be room


class Life:
    """Starts and ends instances. All public parts are synchronous: they change the books, the rest is for a task."""

    def __init__(
        self,
        books: Books,
        breakers: Breakers,
        settings: PoolSettings,
        ledger: Ledger,
        upshots: Upshots,
        clock: Callable[[], float],
    ) -> None:
        self._books, self._breakers, self._settings = books, breakers, settings
        self._ledger, self._upshots, self._clock = ledger, upshots, clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._faults = Faults(settings.breaker_failures)

    def start(self, resident: Resident) -> None:
        """Its room is there: start the engine."""
        resident.move(Phase.LOADING)
        resident.stage = None
        self._books.placed(resident)
        self._upshots.emit(announce.load_started(resident))
        resident.load_task = task = self._task(self._load(resident), f"load {resident.instance_id}")
        latest = self._settings.load_timeout + self._settings.unload_timeout
        timer = asyncio.get_running_loop().call_later(latest, self._overdue, resident)
        task.add_done_callback(lambda _task: timer.cancel())

    async def _load(self, resident: Resident) -> None:
        started = self._clock()
        watch = LoadWatch(resident, self._settings, self._progressed, self.crashed)
        try:
            loaded = await watch.load()
        except GatewayError as error:
            if resident.phase is Phase.LOADING:
                self.failed(resident, error)
        else:
            if resident.phase is Phase.LOADING:
                self.ready(resident, loaded, self._clock() - started)
            elif resident.gone.is_set() and self._books.get(resident.instance_id) in (None, resident):
                await unload(resident, self._settings.unload_timeout)  # its provider was deaf to the order to stop
        finally:
            if resident.phase is Phase.DRAINING:
                self._upshots.changed()  # what it had taken so far may be back

    def _overdue(self, resident: Resident) -> None:
        """A provider that was told to stop, and does not: its waiters wait no longer for it."""
        if resident.phase is Phase.LOADING:
            error = LoadFailed(f"Model {resident.info.key} could not be loaded: its provider does not answer")
            resident.error = error
            self._breakers.failed(resident.info.key, error, self._clock())
            self.fail_waiting(resident, error)
            self.end(resident, "abandoned")

    def _progressed(self, resident: Resident) -> None:
        self._upshots.emit(announce.load_progressed(resident))

    def ready(self, resident: Resident, loaded: Loaded, seconds: float) -> None:
        resident.settle(loaded)
        self._learn(resident, loaded, seconds)
        self._books.placed(resident)
        activated = any(each.activated for each in resident.orders)
        self._upshots.emit(announce.load_completed(resident, seconds, activated=activated))
        resident.fulfil_orders()
        self._upshots.serve(resident)
        self._upshots.changed()

    def _learn(self, resident: Resident, loaded: Loaded, seconds: float) -> None:
        alone = not self._books.crowded(resident)
        resident.need = self._ledger.learn(
            resident.info, resident.config, resident.need, loaded.size_bytes, seconds, alone=alone
        )

    def failed(self, resident: Resident, error: GatewayError) -> None:
        """A load was refused or went wrong: every waiter fails once, with the same words."""
        resident.error = error
        self._breakers.failed(resident.info.key, error, self._clock())
        self.drop(resident)
        self.fail_waiting(resident, error)
        self._upshots.emit(announce.failure("model_load", resident, error))
        self._upshots.changed()

    def crashed(self, resident: Resident, error: Exception) -> None:
        """The engine has ended by itself: break its leases now, whether it was serving or draining."""
        if resident.phase is not Phase.READY and not (resident.phase is Phase.DRAINING and resident.leases):
            self._upshots.changed()  # it was about to end: its memory is back a little earlier
            return
        known = error if isinstance(error, GatewayError) else InternalError(f"Instance {resident.instance_id}: {error}")
        resident.error = known
        self._breakers.failed(resident.info.key, known, self._clock())
        resident.abort(known)
        if resident.phase is Phase.READY:
            self.end(resident, "crashed")
        resident.empty.set()
        self._upshots.emit(announce.failure("engine", resident, known))
        self._upshots.changed()

    def judge(self, resident: Resident, error: GatewayError | None, request: bytes) -> None:
        """How a request ended. An engine of ours that fails one after the other is ended; the next request, or one that
        waits already, has it back (F-015)."""
        if resident.phase is not Phase.READY or resident.loaded is None or not resident.loaded.ours:
            return
        failures = self._faults.judge(resident.instance_id, error, request)
        if error is None or not failures:
            return
        known = refusals.failing(resident.instance_id, failures, error)
        resident.error = known
        self._breakers.failed(resident.info.key, known, self._clock())
        self._upshots.emit(announce.failure("engine", resident, known))
        self.end(resident, "failing", error=known, drain=self._settings.drain_timeout)

    def end(self, resident: Resident, reason: str, *, error: GatewayError | None = None, drain: float = 0.0) -> None:
        """No new requests from this moment; the rest takes its time. `error`: for those still running after `drain`."""
        resident.leave(reason)
        self._faults.forget(resident.instance_id)
        if reason == "evicted":
            resident.habit.evicted = self._clock()
        self._upshots.emit(announce.unload_started(resident))
        last_word = error or refusals.unloaded(resident.instance_id)
        self._task(self._finish(resident, last_word, drain), f"end {resident.instance_id}")

    async def _finish(self, resident: Resident, error: GatewayError, drain: float) -> None:
        started, failure = self._clock(), None
        try:
            await stop_loading(resident, self._settings.unload_timeout)
            await resident.drained(drain)
            resident.abort(error)
            if _ours_to_end(resident):
                failure = resident.unload_error = await unload(resident, self._settings.unload_timeout)
        finally:
            self.drop(resident)
            seconds = self._clock() - started
            if failure is None:
                self._upshots.emit(announce.unload_completed(resident, seconds))
            else:
                self._upshots.emit(announce.failure("model_unload", resident, failure, seconds))
            self._place_anew(resident)

    def _place_anew(self, resident: Resident) -> None:
        """Those who came while it left, or waited for it when it crashed."""
        for waiter in resident.take_waiting():
            try:
                self._upshots.place(waiter)
            except GatewayError as error:
                waiter.fail(error)
        self._upshots.changed()

    def drop(self, resident: Resident, *, for_good: bool = False) -> None:
        """Out of the books; an explicit instance whose engine failed stays listed, to be revived, unless `for_good`."""
        self._books.placed(resident)
        if resident.revivable and not for_good:
            resident.move(Phase.FAILED)
        else:
            resident.move(Phase.GONE)
            self._books.remove(resident)

    def fail_waiting(self, resident: Resident, error: GatewayError) -> None:
        for each in resident.take_waiting():
            each.fail(error)

    def _task(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _ours_to_end(resident: Resident) -> bool:
    """Whether its provider is to be told of its end, now that this has a reason."""
    if resident.standing:
        return resident.reason == "request"  # then it stays out of use; else it is there again when it is wanted
    return resident.reason != "gone" and not (resident.adopted and resident.reason == "shutdown")
