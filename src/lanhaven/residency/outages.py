"""Upstreams that do not answer, or turn requests away: their instances rest while others of the model serve.

Only for models with several instances: where there is one, every request tries it, and tells what it found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from lanhaven.errors import GatewayError, ProviderUnavailable, QueueFull
from lanhaven.events import GatewayEvent
from lanhaven.residency import announce
from lanhaven.residency.books import Books
from lanhaven.residency.breaker import Breaker, is_fault
from lanhaven.residency.lease import Lease
from lanhaven.residency.resident import Phase, Resident
from lanhaven.residency.settings import PoolSettings
from lanhaven.residency.waiting import Order, Waiter

UNREACHABLE = 10.0  # seconds of rest after a connection that could not be made: meanwhile its provider has looked
LEAST, MOST = 1.0, 30.0  # of a Retry-After that is heeded


class Outages:
    """Synchronous, like all that changes the books.

    place: puts a waiter into another queue. serve: gives free slots to those who wait.
    """

    def __init__(
        self,
        books: Books,
        settings: PoolSettings,
        clock: Callable[[], float],
        *,
        emit: Callable[[GatewayEvent], None],
        place: Callable[[Waiter | Order], None],
        serve: Callable[[Resident], None],
    ) -> None:
        self._books, self._settings, self._clock = books, settings, clock
        self._emit, self._place, self._serve = emit, place, serve

    def pass_on(self, lease: Lease, error: GatewayError) -> bool:
        """A request failed before its upstream took it up: its instance rests. Whether another one may have it."""
        resident = self._books.get(lease.instance_id)
        if resident is None or lease not in resident.leases or not self._books.crowded(resident):
            return False
        seconds = self._seconds(error)
        if seconds is None:
            return False
        self._breaker(resident).rest(self._clock(), seconds, error)
        if error.facts:  # it is not there; one that has much to do has not failed
            self._emit(announce.failure("engine", resident, error))
        self._move(resident)
        return self._others(resident) and not error.facts.get("sent")

    def _seconds(self, error: GatewayError) -> float | None:
        """How long an upstream rests that took no request, because of this; None: the error is of another kind."""
        if not isinstance(error, ProviderUnavailable | QueueFull):
            return None
        if error.facts.get("connect"):
            return UNREACHABLE
        if error.facts.get("gone") or error.retry is False:
            return self._settings.breaker_pause
        return min(MOST, max(LEAST, error.retry_after or 0.0))

    def judge(self, resident: Resident, error: GatewayError | None) -> None:
        """How a request ended that it had taken up. One that keeps failing rests while others serve."""
        if error is None or not is_fault(error) or resident.phase is not Phase.READY or not self._others(resident):
            return
        breaker = self._breaker(resident)
        breaker.failed(self._clock(), error)
        if resident.resting:
            self._emit(announce.failure("engine", resident, error))
            self._move(resident)

    def heed(self, told: Iterable[tuple[Resident, str | None]]) -> None:
        """What a provider says: why an instance takes no requests now, or None. One that is back serves at once."""
        for resident, why in told:
            breaker = resident.breaker
            if why is not None and (breaker is None or breaker.open_until != math.inf):
                error = ProviderUnavailable(f"Its server {why}.")
                self._breaker(resident).rest(self._clock(), math.inf, error)
                self._emit(announce.failure("engine", resident, error))
                self._move(resident)
            elif why is None and breaker is not None:
                resident.breaker = None if breaker.open_until == math.inf else breaker
                self._serve(resident)

    def _breaker(self, resident: Resident) -> Breaker:
        if resident.breaker is None:
            settings = self._settings
            resident.breaker = Breaker(settings.breaker_failures, settings.breaker_window, settings.breaker_pause)
        return resident.breaker

    def _others(self, resident: Resident) -> bool:
        group = self._books.of(resident.info.key)
        return any(each is not resident and each.phase is Phase.READY and not each.resting for each in group)

    def _move(self, resident: Resident) -> None:
        """Those who wait for it are placed anew."""
        for waiter in resident.take_waiting():
            try:
                self._place(waiter)
            except GatewayError as refusal:
                waiter.fail(refusal)
