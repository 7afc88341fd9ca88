"""Which Ollamas there are: the provider's block in config.yaml.

    providers:
      ollama:
        connect_timeout: 2          # seconds, for one connection
        answer_timeout: 5           # for an answer to a question; loads have longer
        hosts:
          pc: {base_url: "http://pc.lan:11434"}
          mac: {base_url: "https://mac.lan/ollama", api_key: "behind-a-proxy"}

A single one can be said without `hosts`: base_url, api_key. The first host's models keep their names. Where nothing of
this is said nothing is asked, unless an entry of models.yaml needs the Ollama of this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from lanhaven.providers.hosts.relaying import via
from lanhaven.providers.hosts.settings import address, read_named, secret
from lanhaven.providers.settings import (
    GENERAL,
    Reader,
    as_is,
    flag,
    model_kind,
    read_all,
    some_seconds,
    text,
)
from lanhaven.types.models import ModelKind

DEFAULT_NAME = "ollama"
DEFAULT_URL = "http://127.0.0.1:11434"
CONNECT_TIMEOUT, ANSWER_TIMEOUT = 2.0, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One Ollama. base_url: http or https, perhaps with a path, without /v1. hop: what this server calls itself towards
    others, None = nothing. Times in seconds."""

    name: str
    base_url: str
    api_key: str | None = field(default=None, repr=False)
    hop: str | None = None
    connect_timeout: float = CONNECT_TIMEOUT
    answer_timeout: float = ANSWER_TIMEOUT

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        key = (("authorization", f"Bearer {self.api_key}"),) if self.api_key else ()
        return (*key, *via(self.hop))


@dataclass(frozen=True, slots=True)
class Entry:
    """The provider's own settings of a model in models.yaml."""

    host: str | None = None  # None: the first one
    model: str | None = None  # its name in Ollama; None = the entry's id
    kind: ModelKind | None = None


def read_entry(values: Mapping[str, Any]) -> Entry:
    """InvalidRequest names what is wrong."""
    return Entry(**read_all(values, _ENTRY, "ollama"))


def read_hosts(options: Mapping[str, Any]) -> Mapping[str, Host]:
    """By name, in their order. InvalidRequest names what is wrong."""
    said = read_all(options, _OPTIONS, "ollama")
    all_of: dict[str, Any] = {name: each for name, each in said.items() if name in _SHARED}
    single = {DEFAULT_NAME: {name: said[name] for name in _HOST if name in said}} if "base_url" in said else {}
    named = single | read_named(said.get("hosts", {}), _HOST)
    return MappingProxyType({name: Host(name=name, **each, **all_of) for name, each in named.items()})


def read_spare(options: Mapping[str, Any]) -> Host | None:
    """The one of this machine, for a model entry where no host is known; None where that would be ourselves."""
    return None if options.get("no_default") else Host(name=DEFAULT_NAME, base_url=DEFAULT_URL, hop=options.get("hop"))


_ENTRY: Mapping[str, Reader] = MappingProxyType({"host": text, "model": text, "kind": model_kind})
_HOST: Mapping[str, Reader] = MappingProxyType({"base_url": address, "api_key": secret})
_SHARED: Mapping[str, Reader] = MappingProxyType(
    {"connect_timeout": some_seconds, "answer_timeout": some_seconds, "hop": text}
)
_OPTIONS: Mapping[str, Reader] = MappingProxyType({**_HOST, **_SHARED, **GENERAL, "hosts": as_is, "no_default": flag})
