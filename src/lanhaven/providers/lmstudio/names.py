"""Names of models and instances, where several LM Studios may use the same ones.

The first host that has a model gives it its own name; the same key of another host becomes `host/key`. An instance
keeps the name that it was loaded under; one that somebody else loaded has its identifier, or `host/identifier`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lanhaven.providers.hosts.naming import keys_of
from lanhaven.providers.lmstudio.models import Studied
from lanhaven.types.models import ModelInfo


@dataclass(frozen=True, slots=True)
class Place:
    """An instance as its LM Studio knows it. embedding: None where that is not known."""

    host: str
    identifier: str
    embedding: bool | None = None


class Names:
    """Both ways between our names and theirs."""

    def __init__(self) -> None:
        self._keys: Mapping[tuple[str, str], str] = {}
        self._places: dict[str, Place] = {}

    def infos(self, provider: str, models: Mapping[str, Sequence[Studied]]) -> tuple[ModelInfo, ...]:
        """The models of all hosts, by host in order of precedence, under names that are theirs alone."""
        self._keys = keys = keys_of((host, each.key) for host, each in _all(models))
        named = {keys[host, each.key]: (host, each) for host, each in _all(models) if (host, each.key) in keys}
        taken = set(named)
        infos = []
        for key, (host, each) in named.items():
            aliases = tuple(name for name in (each.path, f"{host}/{each.key}") if name and name not in taken)
            taken.update(aliases)
            infos.append(each.info(key, provider, host, aliases))
        return tuple(infos)

    def key_of(self, host: str, model: str) -> str:
        """The catalog's key of a host's model."""
        return self._keys.get((host, model), model)

    def identifier(self, host: str, instance_id: str) -> str:
        """What to call an instance there."""
        return instance_id.removeprefix(f"{host}/") or instance_id

    def learn(self, instance_id: str, place: Place) -> None:
        """An instance was loaded under our name; it has no other."""
        there = (place.host, place.identifier)
        others = {name: each for name, each in self._places.items() if (each.host, each.identifier) != there}
        self._places = {**others, instance_id: place}

    def place(self, instance_id: str) -> Place | None:
        return self._places.get(instance_id)

    def forget(self, instance_id: str) -> None:
        self._places.pop(instance_id, None)

    def of(self, host: str) -> tuple[str, ...]:
        """Our names of the instances of a host, as far as known."""
        return tuple(name for name, place in self._places.items() if place.host == host)

    def named(self, place: Place) -> str:
        """Our name of an instance that runs; a new one where somebody else loaded it."""
        for name, known in self._places.items():
            if (known.host, known.identifier) == (place.host, place.identifier):
                return name
        name = place.identifier if place.identifier not in self._places else f"{place.host}/{place.identifier}"
        self._places[name] = place
        return name

    def __repr__(self) -> str:
        return f"Names(models={len(self._keys)} instances={self._places})"


def _all(models: Mapping[str, Sequence[Studied]]) -> Iterator[tuple[str, Studied]]:
    return ((host, each) for host, of_host in models.items() for each in of_host)
