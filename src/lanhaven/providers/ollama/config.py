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

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from lanhaven.config.addresses import base_url as checked_base_url
from lanhaven.errors import InvalidRequest
from lanhaven.providers.settings import Reader, flag, integer, one_of, read_all, seconds, shaped, some_seconds, text
from lanhaven.types.models import ModelKind

DEFAULT_NAME = "ollama"
DEFAULT_URL = "http://127.0.0.1:11434"
CONNECT_TIMEOUT, ANSWER_TIMEOUT = 2.0, 5.0

_VISIBLE = re.compile(r"[!-~]+")
_HOST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One Ollama. base_url: http or https, perhaps with a path, without /v1. Times in seconds."""

    name: str
    base_url: str
    api_key: str | None = field(default=None, repr=False)
    connect_timeout: float = CONNECT_TIMEOUT
    answer_timeout: float = ANSWER_TIMEOUT

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.api_key}"),) if self.api_key else ()


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
    times: dict[str, float] = {name: each for name, each in said.items() if name.endswith("_timeout")}
    known: dict[str, Host] = {}
    if "base_url" in said:
        known[DEFAULT_NAME] = _host(DEFAULT_NAME, {"base_url": said["base_url"], "api_key": said.get("api_key")}, times)
    for name, each in said.get("hosts", {}).items():
        if not _HOST_NAME.fullmatch(str(name)):
            raise InvalidRequest(f"{name!r} is no name for a host: use letters, digits, - and _.", param="hosts")
        known[str(name)] = _host(str(name), read_all(_table(f"hosts.{name}", each), _HOST, f"host {name}"), times)
    return MappingProxyType(known)


def read_spare(options: Mapping[str, Any]) -> Host | None:
    """The one of this machine, for a model entry where no host is known; None where that would be ourselves."""
    return None if options.get("no_default") else Host(name=DEFAULT_NAME, base_url=DEFAULT_URL)


def _host(name: str, said: Mapping[str, Any], times: Mapping[str, float]) -> Host:
    if said.get("base_url") is None:
        raise InvalidRequest(f"Ollama host {name} needs a base_url.", param="base_url")
    try:
        url = checked_base_url(said["base_url"])
    except ValueError as error:
        raise InvalidRequest(f"base_url of Ollama host {name}: {error}", param="base_url") from None
    return Host(name=name, base_url=url, api_key=said.get("api_key"), **times)


def _table(key: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidRequest(f"{key} of the ollama provider must be a mapping.", param=key)
    return value


def _key(key: str, value: Any) -> str:
    if not isinstance(value, str) or not _VISIBLE.fullmatch(value):
        raise InvalidRequest(f"{key} of the ollama provider holds what no header can carry.", param=key)
    return value


@shaped(enum=[each.value for each in ModelKind])
def _kind(key: str, value: Any) -> ModelKind:
    return ModelKind(one_of([each.value for each in ModelKind])(key, value))


_ENTRY: Mapping[str, Reader] = MappingProxyType({"host": text, "model": text, "kind": _kind})
_HOST: Mapping[str, Reader] = MappingProxyType({"base_url": text, "api_key": _key})
_OPTIONS: Mapping[str, Reader] = MappingProxyType(
    {
        **_HOST,
        "hosts": _table,
        "connect_timeout": some_seconds,
        "answer_timeout": some_seconds,
        "no_default": flag,
        # the last ones are the same for all providers
        "default_slots": integer(1),
        "prompt_cache_mib": integer(0),
        "engine_stop": seconds,
    }
)
