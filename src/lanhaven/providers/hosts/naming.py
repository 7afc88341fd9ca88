"""Names of models, where several hosts may have the same ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def keys_of(listed: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], str]:
    """(host, name) -> key: the first host that has a model gives it its own name; of another one it is `host/name`.

    One that has no name of its own even so has none.
    """
    keys: dict[tuple[str, str], str] = {}
    taken: set[str] = set()
    for host, name in listed:
        key = name if name not in taken else f"{host}/{name}"
        if key not in taken and (host, name) not in keys:
            taken.add(key)
            keys[host, name] = key
    return keys
