"""Who wants room, in which order, and doing what the policy says about each."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from lanhaven.errors import GatewayError, InternalError
from lanhaven.residency import policy, refusals
from lanhaven.residency.books import Books
from lanhaven.residency.ledger import Ledger
from lanhaven.residency.resident import Phase, Resident
from lanhaven.residency.settings import PoolSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Deeds:
    """What the pool does when the policy has spoken."""

    start: Callable[[Resident], None]
    end: Callable[[Resident, str], None]
    refuse: Callable[[Resident, GatewayError], None]
    serve: Callable[[Resident], None]


class Room:
    """The queue for room: those promised it, then an operator's orders, then requests by arrival. Nobody overtakes."""

    def __init__(
        self,
        books: Books,
        settings: PoolSettings,
        ledger: Ledger,
        deeds: Deeds,
        *,
        available_memory: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._books, self._settings, self._ledger, self._deeds = books, settings, ledger, deeds
        self._available_memory, self._clock = available_memory, clock
        self.max_automatic = settings.max_automatic
        self._giving = self._again = False
        self._timer: asyncio.TimerHandle | None = None

    def give(self) -> None:
        """Ask the policy for everyone in the queue. Never re-entered; repeated if a deed has changed something."""
        self._again = True
        if self._giving:
            return
        self._giving = True
        try:
            while self._again:
                self._again = False
                self._hold(self._ask_all())
        finally:
            self._giving = False

    def _ask_all(self) -> tuple[str, ...]:
        """Returns the instances to hold in favour of the first that must wait."""
        available = self._available_memory() if self._books.roomless else 0  # reads files: once a round
        waits: list[policy.Wait] = []
        queue_waits, again = False, math.inf
        for resident in sorted(self._books.roomless, key=_turn):
            if resident not in self._books.roomless:
                continue
            now = self._clock()
            decision = self.decide(resident, now, available)
            if queue_waits and resident.phase is Phase.QUEUED and not isinstance(decision, policy.Refuse):
                resident.stage = "waiting for room (its turn)"  # nobody overtakes; what can never fit hears so at once
                continue
            self._do(resident, decision)
            if isinstance(decision, policy.Wait):
                queue_waits = queue_waits or resident.phase is Phase.QUEUED
                again = min(again, *_later(now, decision.until, resident.since + self._settings.patience))
                waits.append(decision)
        self._rest(again)
        return next((each.hold for each in waits if each.hold), ())

    def decide(self, resident: Resident, now: float, available: int) -> policy.Decision:
        """What the policy says about it now; `available` bytes are free."""
        want = policy.Want(
            model_key=resident.info.key,
            automatic=resident.automatic,
            needed_bytes=resident.estimate,
            fresh=True,
            force=resident.force,
            waited=now - resident.since,
        )
        limits = policy.Limits(
            max_automatic=self.max_automatic,
            available_bytes=available,
            patience=self._settings.patience,
        )
        return policy.plan(self._books.occupants(besides=resident), want, limits, now)

    def _do(self, resident: Resident, decision: policy.Decision) -> None:
        match decision:
            case policy.Load(evict=()):
                self._deeds.start(resident)
            case policy.Load(evict=victims):
                if resident.phase is Phase.QUEUED:
                    resident.move(Phase.RESERVED)
                for victim in filter(None, map(self._books.get, victims)):
                    self._deeds.end(victim, "evicted")
            case policy.Wait(reason=reason):
                resident.stage = f"waiting for room ({reason})"
            case policy.Refuse() as refusal:
                room = refusal.available_bytes + refusal.evictable_bytes
                fitting = self._ledger.largest_context(resident.info, resident.config, room)
                self._deeds.refuse(resident, refusals.no_room(resident.info.key, refusal, fitting))
            case policy.Serve():
                raise InternalError("A new instance was asked for, not one that serves")
            case never:
                assert_never(never)

    def _rest(self, seconds: float) -> None:
        """Ask again when somebody's patience ends, or one that came back has stayed long enough."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds < math.inf:
            self._timer = asyncio.get_running_loop().call_later(max(0.001, seconds), self.give)

    def _hold(self, held: tuple[str, ...]) -> None:
        for resident in self._books:
            if resident.held != (resident.instance_id in held):
                resident.hold(not resident.held)
                self._deeds.serve(resident)


def _later(now: float, *times: float | None) -> list[float]:
    """Seconds until those that are still to come."""
    return [each - now for each in times if each is not None and each > now] or [math.inf]


def _turn(resident: Resident) -> tuple[bool, bool, float]:
    return (resident.phase is Phase.QUEUED, resident.automatic, resident.since)
