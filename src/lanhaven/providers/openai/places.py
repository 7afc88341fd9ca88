"""Which host every instance is at. A model that says `hosts` has an instance at each of them, without a load."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from lanhaven.providers.openai.config import Entry, Host


class Places:
    """Books only. What is changed is replaced, as entries are learnt in a thread."""

    def __init__(self) -> None:
        self._entries: Mapping[str, Entry] = {}  # of models.yaml, by key
        self._loaded: Mapping[str, tuple[str, str]] = {}  # instance -> key and host, of those that were loaded
        self._out: frozenset[str] = frozenset()  # standing ones that were unloaded: not there until a load

    def learn(self, key: str, entry: Entry) -> None:
        """An entry of models.yaml; one that changed has all its hosts back."""
        if self._entries.get(key) != entry:
            self._entries = {**self._entries, key: entry}
            self._out -= names_of(key, entry)

    def hosts(self) -> Iterator[Host]:
        """Of all entries."""
        for entry in self._entries.values():
            yield from entry.hosts

    def loaded(self) -> Iterator[tuple[str, Host | None]]:
        """The instances that were loaded; with their host, where the model has several."""
        for name, (key, host) in self._loaded.items():
            entry = self._entries.get(key)
            hosts = entry.hosts if entry is not None and entry.listed else ()
            yield name, next((each for each in hosts if each.name == host), None)

    def standing(self) -> Iterator[tuple[str, str, Entry, Host]]:
        """The instances that are there without a load: name, model key, entry, host."""
        taken = set(self._loaded.values())
        for key, entry in self._entries.items():
            for host in entry.hosts if entry.listed else ():
                name = instance_of(host, key)
                if (key, host.name) not in taken and name not in self._out:
                    yield name, key, entry, host

    def choose(self, key: str, entry: Entry, instance_id: str, away: Callable[[Host], bool]) -> Host:
        """For a load: the host that the instance is named after, else one that has no instance."""
        taken = {host for of, host in self._loaded.values() if of == key}
        named = [each for each in entry.hosts if instance_of(each, key) == instance_id]
        free = [each for each in entry.hosts if each.name not in taken and not away(each)]
        return (*named, *free, *entry.hosts)[0]

    def load(self, key: str, entry: Entry, instance_id: str, host: Host) -> None:
        """It is there now; and all hosts of the model are in use again."""
        self._loaded = {**self._loaded, instance_id: (key, host.name)}
        self._out -= names_of(key, entry)

    def unload(self, instance_id: str) -> None:
        self._loaded = {name: place for name, place in self._loaded.items() if name != instance_id}
        if any(instance_id in names_of(key, entry) for key, entry in self._entries.items() if entry.listed):
            self._out |= {instance_id}

    def clear(self) -> None:
        self._loaded = {}

    def __repr__(self) -> str:
        return f"Places(loaded={sorted(self._loaded)} out={sorted(self._out)})"


def instance_of(host: Host, key: str) -> str:
    """The name of a host's instance, where several hosts have a model."""
    return f"{host.name}/{key}"


def names_of(key: str, entry: Entry) -> frozenset[str]:
    return frozenset(instance_of(host, key) for host in entry.hosts)
