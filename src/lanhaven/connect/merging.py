"""What a file must say after settings were put into it: the data, whatever its text looks like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# An entry of a list is the same one if it has the same value here; the first that it has decides.
IDENTITIES = ("id", "name", "vendor")

Key = str | int


@dataclass(frozen=True, slots=True)
class Change:
    """One value to set: at the end of `path`, which leads through mappings (names) and lists (places, -1 a new one)."""

    path: tuple[Key, ...]
    value: Any


def changes(old: Any, wanted: Any, keep: Sequence[str] = (), path: tuple[Key, ...] = ()) -> Iterator[Change]:
    """The fewest values to set so that `old` says all that `wanted` says.

    Mappings are gone into. Of lists of mappings, entries are gone into where one is the same, else added; all other
    values are replaced. keep: names at the top that stay as they are if they are there.
    """
    if isinstance(old, Mapping) and isinstance(wanted, Mapping):
        for name, value in wanted.items():
            if name not in old:
                yield Change((*path, name), value)
            elif name not in keep or path:
                yield from changes(old[name], value, path=(*path, name))
    elif _entries(old) and _entries(wanted):
        for entry in wanted:
            place = _place(old, entry)
            if place is None:
                yield Change((*path, -1), entry)
            else:
                yield from changes(old[place], entry, path=(*path, place))
    elif old != wanted or type(old) is not type(wanted):
        yield Change(path, wanted)


def merged(old: Any, wanted: Any, keep: Sequence[str] = ()) -> Any:
    """What is to come out."""
    result = old
    for change in changes(old, wanted, keep):
        result = _set(result, change.path, change.value)
    return result


def _set(data: Any, path: tuple[Key, ...], value: Any) -> Any:
    if not path:
        return value
    key, *rest = path
    if isinstance(data, Mapping):
        return {**data, key: _set(data.get(key), tuple(rest), value)}
    if key == -1:
        return [*data, value]
    return [_set(each, tuple(rest), value) if index == key else each for index, each in enumerate(data)]


def _entries(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, Mapping) for each in value)


def _place(entries: Sequence[Mapping[str, Any]], entry: Mapping[str, Any]) -> int | None:
    identity = next((name for name in IDENTITIES if name in entry), None)
    if identity is None:
        return None
    found = (index for index, each in enumerate(entries) if each.get(identity) == entry[identity])
    return next(found, None)
