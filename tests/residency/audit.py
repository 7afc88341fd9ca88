"""What must hold for a pool at every instant, and what must hold when nothing is left to do."""

from __future__ import annotations

from dataclasses import dataclass, field

from lanhaven.events import (
    Failure,
    GatewayEvent,
    ModelLoadComplete,
    ModelLoadStart,
    ModelUnloadComplete,
    ModelUnloadStart,
)
from lanhaven.residency import Pool, policy
from lanhaven.residency.resident import Phase, Resident
from lanhaven.residency.room import _turn
from tests.residency.fakes import ScriptedProvider

COUNTED = (Phase.LOADING, Phase.READY, Phase.DRAINING)  # an engine runs
ENDS = {"start": {"ready", "failed", "leaving"}, "ready": {"leaving"}, "leaving": {"gone"}}


@dataclass
class Ledger:
    """The events of each instance must tell one story: start, ready or failed, leaving, gone."""

    pool: Pool
    stage: dict[str, str] = field(default_factory=dict)
    wrongs: list[str] = field(default_factory=list)

    def hear(self, event: GatewayEvent) -> None:
        match event:
            case ModelLoadStart(instance_id=name):
                self._move(name, "start", {"nothing"})
            case ModelLoadComplete(instance_id=name):
                self._move(name, "ready", {"start", "nothing"})  # nothing: found running
            case ModelUnloadStart(instance_id=name, reason=reason):
                self._move(name, "leaving", {"start", "ready"})
                self._unused(name, reason)
            case ModelUnloadComplete(instance_id=name):
                self._move(name, "nothing", {"leaving"})
            case Failure(operation="model_load", instance_id=str(name)):
                self._move(name, "nothing", {"start", "nothing"})  # nothing: refused
            case Failure(operation="model_unload", instance_id=str(name)):
                self._move(name, "nothing", {"leaving"})

    def _move(self, name: str, stage: str, before: set[str]) -> None:
        now = self.stage.get(name, "nothing")
        if now not in before:
            self.wrongs.append(f"{name} went from {now} to {stage}")
        self.stage[name] = stage

    def _unused(self, name: str, reason: str) -> None:
        """Nobody's instance is evicted, or ended by its TTL, under him. (Who came while it was held waits on.)"""
        resident = self.pool._books.get(name)
        assert resident is not None
        pinned = resident.pinned and not resident.retired
        if reason in ("evicted", "idle") and (resident.leases or resident.orders or pinned):
            self.wrongs.append(f"{name} was {reason} while in use: {resident}")


def always(pool: Pool, provider: ScriptedProvider, max_automatic: int, *, forced: bool) -> None:
    """I5, I11 and the invariants of the design, whatever the moment."""
    residents = list(pool._books)
    engines = provider.engines
    automatic = [each for each in residents if each.automatic and each.instance_id in engines]
    assert len(automatic) <= max_automatic, (automatic, repr(pool))
    if not forced:
        assert sum(each.info.size_bytes for each in engines.values()) <= provider.memory, (engines.keys(), repr(pool))
    assert provider.wrongs == []
    running = {each.instance_id for each in residents if each.phase in COUNTED}
    assert set(engines) <= running, (set(engines), repr(pool))
    for resident in residents:
        _one(resident, provider)
    for key in {each.info.key for each in residents}:
        mine = [each for each in pool._books.of(key) if each.automatic and each.phase is not Phase.DRAINING]
        assert len(mine) <= 1, mine
    assert set(pool.ids()) == {each.instance_id for each in residents}


def _one(resident: Resident, provider: ScriptedProvider) -> None:
    assert resident.slots is None or len(resident.leases) <= resident.slots
    assert not resident.leases or resident.phase in (Phase.READY, Phase.DRAINING), resident
    assert all(each.broken is None for each in resident.leases)
    assert all(each.resident is resident for each in resident._everyone())
    assert not resident.held or resident.phase is Phase.READY
    if resident.phase is Phase.READY and resident.instance_id in provider.spawned and not provider.running:
        assert resident.instance_id in provider.engines, resident
    if resident.phase in (Phase.GONE, Phase.FAILED):
        assert not resident.waiting
        assert not resident.orders


def at_rest(pool: Pool, now: float, *, forced: bool = False) -> None:
    """Nothing can run: then nobody waits for something that is there. (A missed wake-up is a wedge, P5.)

    forced: memory was promised twice on order; a load in progress may then take what others wait for, until the sweep.
    """
    residents = list(pool._books)
    for resident in residents:
        if resident.has_slot:
            assert not resident.waiters, f"{resident} has a free slot and waiters"
        resting = [each for each in pool._books.of(resident.info.key) if each.breaker is not None]
        if resident.takes and not resting:  # one that has rested serves again at the next sweep
            siblings = [each for each in pool._books.of(resident.info.key) if each is not resident]
            assert not any(each.instance_id is None for one in siblings for each in (*one.waiters, *one.parked)), (
                resident,
                siblings,
            )
            want = policy.Want(model_key=resident.info.key)
            served = policy.plan(pool._books.occupants(), want, policy.Limits(max_automatic=1, available_bytes=0), now)
            chosen = pool._books.server(resident.info.key, None)
            assert chosen is not None
            assert served == policy.Serve(chosen.instance_id)
        if resident.phase in (Phase.QUEUED, Phase.RESERVED):
            assert resident.wanted, f"nobody wants {resident}"
    available = pool._room._available_memory()
    roomless = sorted(pool._books.roomless, key=_turn)
    stale = any(each.expired(now) for each in pool._books.occupants())  # evictable by the clock alone: the sweep comes
    waits = [each for each in roomless if each.phase is Phase.RESERVED] + [
        each for each in roomless if each.phase is Phase.QUEUED
    ][:1]
    settled = not any(each.phase is Phase.LOADING for each in residents)  # else free memory shrinks while we look
    for resident in roomless if settled and not forced else ():
        assert not isinstance(pool._room.decide(resident, now, available), policy.Refuse), f"{resident} can never fit"
    for resident in waits if not stale and not forced else ():
        decision = pool._room.decide(resident, now, available)
        assert not isinstance(decision, policy.Load), f"{resident} waits for room although {decision}"
    if not roomless:
        assert not any(each.held for each in residents)
