"""What becomes of instances when models.yaml changes. Nothing is cut: what can follow does, the rest waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from lanhaven.residency import policy
from lanhaven.residency.books import Books
from lanhaven.residency.life import Life
from lanhaven.residency.resident import Phase, Resident
from lanhaven.residency.room import Room
from lanhaven.types.models import ModelInfo, Sampling


class Following:
    """Synchronous, like all that changes the books."""

    def __init__(self, books: Books, room: Room, life: Life, clock: Callable[[], float]) -> None:
        self._books, self._room, self._life, self._clock = books, room, life, clock

    def follow(self, models: Mapping[str, ModelInfo | None], max_automatic: int) -> None:
        """Models by key as they are from now on; None: there no more. Instances of those end once nobody uses them."""
        self._room.max_automatic = max_automatic
        for key, info in models.items():
            for resident in self._books.of(key):
                if info is not None:
                    adapt(resident, info)
                elif not resident.adopted:  # what others loaded is not ours to end
                    self._retire(resident)
        self._room.give()

    def _retire(self, resident: Resident) -> None:
        resident.retired = "removed"
        if resident.phase is Phase.FAILED:
            self._life.drop(resident, for_good=True)

    def over(self) -> Iterator[tuple[Resident, str]]:
        """Who is to end now, and why: idle for too long, of a model that is gone, or one of too many."""
        now, occupants = self._clock(), self._books.occupants()
        ended = policy.expired(occupants, now)
        staying = [each for each in occupants if each.instance_id not in ended]
        for resident in filter(None, map(self._books.get, ended)):
            yield resident, resident.retired or "idle"
        for surplus in filter(None, map(self._books.get, _surplus(staying, self._room.max_automatic))):
            yield surplus, "evicted"


def _surplus(occupants: Sequence[policy.Occupant], most: int) -> list[str]:
    """Idle ones that are too many since the limit is lower, least recently used first."""
    automatic = [each for each in occupants if each.automatic and each.state is not policy.DRAINING]
    idle = [each for each in automatic if each.state is policy.READY and not each.busy and not each.pinned]
    least = sorted(idle, key=lambda each: each.last_used)
    return [each.instance_id for each in least[: max(0, len(automatic) - most)]]


def adapt(resident: Resident, new: ModelInfo) -> None:
    """Take over what a running instance can: defaults, TTL, pin. What an operator has set apart from the model's own
    profile stays as it is. Whatever needs a load marks it as outdated."""
    old, back = resident.profile, resident.retired == "removed"
    resident.profile, resident.outdated = new, _as_loaded(resident.info) != _as_loaded(new)
    # One that takes nothing of this machine, as another server computes, is soon had again: with its new settings.
    resident.retired = "changed" if resident.outdated and resident.automatic and not resident.size_bytes else ""
    resident.sampling = followed(resident.sampling, old.sampling, new.sampling)
    if back or resident.pinned == old.pinned:
        resident.pinned = new.pinned
    if resident.config.idle_ttl == old.load.idle_ttl:
        resident.set_idle_ttl(new.load.idle_ttl)


def followed(own: Sampling, old: Sampling, new: Sampling) -> Sampling:
    """An instance's defaults after its model's changed: each value that was the model's is the new one."""
    was, mine, will = old.said(), own.said(), new.said()
    moved = {name: will.get(name) for name in {*was, *will} if mine.get(name) == was.get(name)}
    return replace(own, **moved)


def _as_loaded(info: ModelInfo) -> tuple[object, ...]:
    """All of a model that a load is made of."""
    return info.provider, info.path, info.config, replace(info.load, idle_ttl=None)
