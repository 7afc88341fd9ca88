"""The pool's books: who is resident, by instance and by model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from lanhaven.residency import refusals
from lanhaven.residency.policy import UNBOUNDED, Occupant
from lanhaven.residency.resident import Phase, Resident
from lanhaven.types.models import LoadConfig

_IN_ROOM = (Phase.RESERVED, Phase.LOADING, Phase.READY, Phase.DRAINING)
_COMING = (Phase.QUEUED, Phase.RESERVED, Phase.LOADING)


class Books:
    """Only look-ups; all of it synchronous, so that what was seen still holds when it is acted on."""

    def __init__(self, owner: Callable[[str], str | None]) -> None:
        """owner: key of the model that has this name, None = nobody's."""
        self._owner = owner
        self._residents: dict[str, Resident] = {}
        self._groups: dict[str, list[Resident]] = {}
        self._keys: dict[str, str] = {}
        self.roomless: dict[Resident, None] = {}  # queued or reserved: they want room
        self.changes = 0  # how often an instance came or went
        self.keys: Mapping[str, str] = MappingProxyType(self._keys)  # instance id -> model key, live

    def __iter__(self) -> Iterator[Resident]:
        return iter(tuple(self._residents.values()))

    def __len__(self) -> int:
        return len(self._residents)

    def get(self, instance_id: str) -> Resident | None:
        return self._residents.get(instance_id)

    def of(self, model_key: str) -> tuple[Resident, ...]:
        """All instances of a model, oldest first."""
        return tuple(self._groups.get(model_key, ()))

    def crowded(self, resident: Resident) -> bool:
        """Whether its model has other instances."""
        return len(self._groups.get(resident.info.key, ())) > 1

    def interchangeable(self, model_key: str) -> bool:
        """Whether the model has several instances that all answer alike: with one load config and the same defaults."""
        group = self._groups.get(model_key, ())
        if len(group) < 2:
            return False
        first = group[0]
        return all(each.sampling == first.sampling and same_load(each, first.config) for each in group)

    def add(self, resident: Resident) -> None:
        if resident.instance_id in self._residents:
            raise refusals.conflict(resident.info.key, resident.instance_id)
        self.changes += 1
        self._residents[resident.instance_id] = resident
        self._keys[resident.instance_id] = resident.info.key
        self._groups.setdefault(resident.info.key, []).append(resident)
        self.roomless[resident] = None

    def placed(self, resident: Resident) -> None:
        """It has its room, or wants none any more."""
        self.roomless.pop(resident, None)

    def remove(self, resident: Resident) -> None:
        if self._residents.get(resident.instance_id) is not resident:
            return
        self.changes += 1
        del self._residents[resident.instance_id], self._keys[resident.instance_id]
        group = self._groups[resident.info.key]
        group.remove(resident)
        if not group:
            del self._groups[resident.info.key]

    def free_id(self, model_key: str) -> str:
        """The model's key, else key:2, key:3 ...; never a name of another model, whose requests would come there."""
        number, name = 1, model_key
        while name in self._residents or (number > 1 and self._owner(name) is not None):
            number += 1
            name = f"{model_key}:{number}"
        return name

    def server(self, model_key: str, instance_id: str | None, home: str | None = None) -> Resident | None:
        """Who takes a request at once: its home, else most free slots, then least recently used. The hot path of every
        request."""
        if instance_id is not None:
            named = self._residents.get(instance_id)
            if named is not None:
                return named if named.takes and named.info.key == model_key else None
            if instance_id != model_key:
                return None
        group = self._groups.get(model_key)
        if group is None:
            return None
        if len(group) == 1:
            return group[0] if group[0].takes else None
        taking = [each for each in group if each.takes]
        return min(taking, key=lambda each: (each.instance_id != home, _most_free(each)), default=None)

    def is_home(self, model_key: str, instance_id: str | None) -> bool:
        """Whether conversations can be at home there: it is an instance of the model, and its upstream is there."""
        resident = self._residents.get(instance_id or "")
        return resident is not None and resident.info.key == model_key and not resident.resting

    def target(self, model_key: str, instance_id: str | None) -> Resident | None:
        """Where a request waits that nobody takes at once; None = a new instance. ModelNotFound for an unknown name."""
        if instance_id is not None:
            named = self._residents.get(instance_id)
            if named is not None and named.info.key == model_key:
                return named
            if named is not None or instance_id != model_key:
                raise refusals.no_instance(instance_id)
        return min(self._groups.get(model_key, ()), key=_soonest, default=None)

    def alike(self, model_key: str, config: LoadConfig) -> Resident | None:
        """The best instance that was asked for with the same load config, or one that differs in nothing but that it
        holds more context. The TTL may differ: that changes in place."""
        fitting = [each for each in self._groups.get(model_key, ()) if same_load(each, config) or _holds(each, config)]
        return min(fitting, key=lambda each: _soonest(each, other=not same_load(each, config)), default=None)

    def occupants(self, besides: Resident | None = None) -> list[Occupant]:
        """All that hold memory or have it promised."""
        return [each.occupant() for each in self._residents.values() if each is not besides and each.phase in _IN_ROOM]


def coming(resident: Resident) -> bool:
    """Queued, reserved or loading."""
    return resident.phase in _COMING


def same_load(resident: Resident, config: LoadConfig) -> bool:
    return _comparable(resident.config) == _comparable(config)


def _holds(resident: Resident, config: LoadConfig) -> bool:
    """Whether it is there, or on its way, with at least the context that is asked for, all else being alike."""
    there = resident.load_config.context_length
    if config.context_length is None or there is None or there < config.context_length:
        return False
    takes = coming(resident) or (resident.phase is Phase.READY and not resident.held)
    return takes and same_load(resident, replace(config, context_length=resident.config.context_length))


def _comparable(config: LoadConfig) -> dict[str, object]:
    said: dict[str, object] = config.said()
    said.pop("idle_ttl", None)
    return said


def _most_free(resident: Resident) -> tuple[int, float, str]:
    slots = UNBOUNDED if resident.slots is None else resident.slots
    return (len(resident.leases) - slots, resident.last_used, resident.instance_id)


def _soonest(resident: Resident, *, other: bool = False) -> tuple[int, bool, int, float, str]:
    """Ready ones before coming ones, these before held and leaving ones; then failed ones, and those that rest.
    `other`: it is the second choice of those that are equally soon."""
    if resident.phase is Phase.READY:
        rank = 5 if resident.resting else 2 if resident.held else 0
    else:
        rank = 1 if coming(resident) else 3 if resident.phase is Phase.DRAINING else 4
    return (rank, other, resident.waiting, resident.last_used, resident.instance_id)
