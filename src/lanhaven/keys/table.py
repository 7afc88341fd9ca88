"""The keys in memory: by what they hash to and by name. Replaced as a whole whenever a key changes."""

from __future__ import annotations

import fnmatch
import hmac
import re
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_network

from lanhaven.keys.key import KeyInfo, Terms
from lanhaven.network.addresses import Gate
from lanhaven.types.models import ModelInfo


class KeyTable:
    """Looking a key up is one dictionary access, whatever the number of keys."""

    def __init__(self, keys: Iterable[KeyInfo] = ()) -> None:
        self.keys = tuple(keys)
        self.by_name = {key.name: key for key in self.keys}
        self._by_digest = {key.digest: key for key in self.keys}
        for key in self.keys:
            if key.old is not None:
                self._by_digest.setdefault(key.old.digest, _as_old(key))
        self._gates = {key.name: Gate(map(ip_network, key.terms.networks), loopback=False) for key in self.keys}
        self._models = {key.name: _pattern(key.terms) for key in self.keys}

    def __repr__(self) -> str:
        return f"KeyTable({', '.join(self.by_name) or 'empty'})"

    def find(self, digest: bytes) -> KeyInfo | None:
        """The key that hashes to this. Nobody can choose what a key hashes to, so the time that the look-up takes tells
        nothing; what it found is compared in constant time all the same (F-144)."""
        key = self._by_digest.get(digest)
        return key if key is not None and hmac.compare_digest(key.digest, digest) else None

    def named(self, name: str) -> KeyInfo | None:
        return self.by_name.get(name)

    def admits(self, key: KeyInfo, address: str) -> bool:
        """Whether the key is good at this address."""
        return not key.terms.networks or self._gates[key.name].admits(address)

    def allows(self, key: KeyInfo, info: ModelInfo) -> bool:
        """Whether the key may use this model, by one of its names."""
        pattern = self._models[key.name]
        return pattern is None or any(pattern.fullmatch(name) for name in (info.key, *info.aliases))


def _as_old(key: KeyInfo) -> KeyInfo:
    """The key that was rotated, for the rest of its time."""
    if key.old is None:
        return key
    expires = key.old.until if key.terms.expires is None else min(key.old.until, key.terms.expires)
    return replace(key, digest=key.old.digest, terms=replace(key.terms, expires=expires))


def _pattern(terms: Terms) -> re.Pattern[str] | None:
    return re.compile("|".join(map(fnmatch.translate, terms.models))) if terms.models else None
