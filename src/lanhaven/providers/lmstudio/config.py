"""Which LM Studios there are: the provider's block in config.yaml, and LMSTUDIO_BASE_URL.

    providers:
      lmstudio:
        attempts: 3                 # connections tried before it is called unreachable
        retry_delay: 2              # seconds between them
        connect_timeout: 2          # for one connection
        answer_timeout: 5           # for an answer to a question; loads have longer
        hosts:
          pc: {base_url: "http://pc.lan:1234", api_token: "sk-lm-xxxxxxxx:yyyyyyyyyyyyyyyyyyyy"}
          mac: {base_url: "http://mac.lan:1234"}

A single one can be said without `hosts`: base_url, api_token, models_dir. The first host's models keep their names.
Where nothing of this is said there is no LM Studio, and nothing is asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import msgspec

from lanhaven.config.addresses import base_url as checked_base_url
from lanhaven.errors import InvalidRequest
from lanhaven.lmstudio.tokens import identity
from lanhaven.types.models import ModelKind

DEFAULT_NAME = "lmstudio"
DEFAULT_URL = "http://127.0.0.1:1234"
ATTEMPTS, RETRY_DELAY, CONNECT_TIMEOUT, ANSWER_TIMEOUT = 3, 2.0, 2.0, 5.0

_VISIBLE = re.compile(r"[!-~]+")
_HOST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HOST_SETTINGS = frozenset({"base_url", "api_token", "models_dir"})
_TIMES = frozenset({"attempts", "retry_delay", "connect_timeout", "answer_timeout"})
# The last ones are the same for all providers.
_KNOWN = _HOST_SETTINGS | _TIMES | {"hosts", "default_base_url", "default_slots", "prompt_cache_mib", "engine_stop"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One LM Studio. base_url: http or https, without /v1. Times in seconds."""

    name: str
    base_url: str
    api_token: str | None = field(default=None, repr=False)
    models_dir: Path | None = None  # its folder of models, if that is on this machine
    attempts: int = ATTEMPTS
    retry_delay: float = RETRY_DELAY
    connect_timeout: float = CONNECT_TIMEOUT
    answer_timeout: float = ANSWER_TIMEOUT

    @property
    def ws_url(self) -> str:
        """http becomes ws, https wss (S1-12)."""
        return "ws" + self.base_url.removeprefix("http")

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What requests over HTTP carry."""
        return (("authorization", f"Bearer {self.api_token}"),) if self.api_token else ()


@dataclass(frozen=True, slots=True)
class Hosts:
    """`known`: by name, in their order, those that are to be asked. `spare`: for a model entry, where none is known."""

    known: Mapping[str, Host]
    spare: Host

    def named(self, name: str | None) -> Host:
        """The host of a model entry; without a name the first one. InvalidRequest if there is none of this name."""
        if name is None:
            return next(iter(self.known.values()), self.spare)
        if name == self.spare.name and not self.known:
            return self.spare
        if name not in self.known:
            known = ", ".join(self.known) or "none"
            raise InvalidRequest(f"There is no LM Studio host {name!r}; there are: {known}.", param="host")
        return self.known[name]


@dataclass(frozen=True, slots=True)
class Entry:
    """The provider's own settings of a model in models.yaml."""

    host: str | None = None
    model: str | None = None  # its key in LM Studio; None = the entry's id
    kind: ModelKind | None = None
    layers: int | None = None


def read_entry(values: Mapping[str, Any]) -> Entry:
    """InvalidRequest names what is wrong."""
    unknown = sorted(str(each) for each in values.keys() - set(Entry.__slots__))
    if unknown:
        raise InvalidRequest(f"A model of lmstudio has no setting {unknown[0]!r}.", param=unknown[0])
    try:
        return msgspec.convert(dict(values), Entry)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"A setting of a model of lmstudio is wrong: {error}.") from None


def read_hosts(options: Mapping[str, Any]) -> Hosts:
    """Of the provider's options. InvalidRequest names what is wrong."""
    _refuse_unknown(options, _KNOWN, "")
    times = {
        "attempts": round(_number(options, "attempts", ATTEMPTS, 1, 20)),
        "retry_delay": _number(options, "retry_delay", RETRY_DELAY, 0, 60),
        "connect_timeout": _number(options, "connect_timeout", CONNECT_TIMEOUT, 0.1, 60),
        "answer_timeout": _number(options, "answer_timeout", ANSWER_TIMEOUT, 0.1, 60),
    }
    spare = _host(DEFAULT_NAME, {**options, "base_url": options.get("default_base_url", DEFAULT_URL)}, times)
    known: dict[str, Host] = {}
    if options.get("base_url") is not None:
        known[DEFAULT_NAME] = _host(DEFAULT_NAME, options, times)
    for name, said in _table(options.get("hosts"), "hosts").items():
        if not _HOST_NAME.fullmatch(name):
            raise InvalidRequest(f"{name!r} is no name for a host: use letters, digits, - and _.", param="hosts")
        settings = _table(said, f"hosts.{name}")
        _refuse_unknown(settings, _HOST_SETTINGS, f"hosts.{name}.")
        known[name] = _host(name, settings, times)
    return Hosts(MappingProxyType(known), spare)


def _host(name: str, said: Mapping[str, Any], times: Mapping[str, Any]) -> Host:
    token, address = said.get("api_token"), said.get("base_url")
    if not isinstance(address, str):
        raise InvalidRequest(f"LM Studio host {name} needs a base_url.", param="base_url")
    if token is not None and (not isinstance(token, str) or not _VISIBLE.fullmatch(token)):
        raise InvalidRequest(f"api_token of LM Studio host {name} holds what no header can carry.", param="api_token")
    identity(token)  # a token that is cut is told now
    try:
        url = checked_base_url(address)
        return Host(name=name, base_url=url, api_token=token, models_dir=_models_dir(said, url), **times)
    except ValueError as error:
        raise InvalidRequest(f"base_url of LM Studio host {name}: {error}", param="base_url") from None


def _models_dir(said: Mapping[str, Any], url: str) -> Path | None:
    folder = said.get("models_dir")
    if folder is None:
        local = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
        return Path("~/.lmstudio/models").expanduser() if local else None
    if not isinstance(folder, str):
        raise InvalidRequest("models_dir of the lmstudio provider must be a path.", param="models_dir")
    return Path(folder).expanduser()


def _number(options: Mapping[str, Any], name: str, usual: float, least: float, most: float) -> float:
    value = options.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InvalidRequest(f"{name} of the lmstudio provider must be from {least:g} to {most:g}.", param=name)
    return float(value)


def _table(value: Any, place: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidRequest(f"{place} of the lmstudio provider must be a mapping.", param=place)
    return value


def _refuse_unknown(said: Mapping[str, Any], known: frozenset[str], place: str) -> None:
    unknown = sorted(str(each) for each in said.keys() - known)
    if unknown:
        name = f"{place}{unknown[0]}"
        raise InvalidRequest(f"The lmstudio provider has no setting {name!r}.", param=name)
