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

A single one can be said without `hosts`: base_url, api_token, models_dir, follow_log, log_dir. The first host's models
keep their names.
Where nothing of this is said there is no LM Studio, and nothing is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from lanhaven.config.addresses import is_loopback_host
from lanhaven.errors import InvalidRequest
from lanhaven.lmstudio.tokens import identity
from lanhaven.providers.hosts.relaying import via
from lanhaven.providers.hosts.settings import address, read_named, secret
from lanhaven.providers.settings import (
    GENERAL,
    Reader,
    Shaped,
    as_is,
    flag,
    integer,
    model_kind,
    path,
    read_all,
    shaped,
    text,
    wrong,
)
from lanhaven.types.models import ModelKind

DEFAULT_NAME = "lmstudio"
DEFAULT_URL = "http://127.0.0.1:1234"
ATTEMPTS, RETRY_DELAY, CONNECT_TIMEOUT, ANSWER_TIMEOUT = 3, 2.0, 2.0, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One LM Studio. base_url: http or https, without /v1. Times in seconds."""

    name: str
    base_url: str
    api_token: str | None = field(default=None, repr=False)
    models_dir: Path | None = None  # its folder of models, if that is on this machine
    follow_log: bool = False
    log_dir: Path | None = None  # its folder server-logs, if that is on this machine
    hop: str | None = None  # what this server calls itself towards others
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
        token = (("authorization", f"Bearer {self.api_token}"),) if self.api_token else ()
        return (*token, *via(self.hop))


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
    return Entry(**read_all(values, _ENTRY, "lmstudio"))


def read_hosts(options: Mapping[str, Any]) -> Hosts:
    """Of the provider's options. InvalidRequest names what is wrong."""
    said = read_all(options, _OPTIONS, "lmstudio")
    times = {name: said[name] for name in (*_TIMES, "hop") if name in said}
    own = {name: said[name] for name in _HOST if name in said}
    spare = _host(DEFAULT_NAME, {**own, "base_url": said.get("default_base_url", DEFAULT_URL)}, times)
    single = {DEFAULT_NAME: own} if "base_url" in own else {}
    named = single | read_named(said.get("hosts", {}), _HOST)
    return Hosts(MappingProxyType({name: _host(name, each, times) for name, each in named.items()}), spare)


def _host(name: str, said: Mapping[str, Any], times: Mapping[str, Any]) -> Host:
    here = is_loopback_host(urlsplit(said["base_url"]).hostname or "")
    usual = {key: Path(f"~/.lmstudio/{name}").expanduser() for key, name in _FOLDERS.items()} if here else {}
    host = Host(name=name, **{**usual, **said}, **times)
    if host.follow_log and host.log_dir is None:
        raise InvalidRequest(
            f"follow_log of LM Studio host {name}: its log is on another machine.",
            param="follow_log",
            hint="set log_dir to a folder of this machine in which the log can be read",
        )
    return host


@shaped(type="string", pattern="^[!-~]+$")
def _token(key: str, value: Any) -> str:
    identity(secret(key, value))  # a token that is cut is told now
    return str(value)


def _within(least: float, most: float) -> Reader:
    def read(key: str, value: Any) -> float:
        if type(value) not in (int, float) or not least <= value <= most:
            raise wrong(key, value, f"a number from {least:g} to {most:g}")
        return float(value)

    return Shaped(read, {"type": "number", "minimum": least, "maximum": most})


_ENTRY: Mapping[str, Reader] = MappingProxyType({"host": text, "model": text, "kind": model_kind, "layers": integer(1)})
_FOLDERS: Mapping[str, str] = MappingProxyType({"models_dir": "models", "log_dir": "server-logs"})
_HOST: Mapping[str, Reader] = MappingProxyType(
    {"base_url": address, "api_token": _token, "models_dir": path, "follow_log": flag, "log_dir": path}
)
_TIMES: Mapping[str, Reader] = MappingProxyType(
    {
        "attempts": integer(1, 20),
        "retry_delay": _within(0, 60),
        "connect_timeout": _within(0.1, 60),
        "answer_timeout": _within(0.1, 60),
    }
)
_OPTIONS: Mapping[str, Reader] = MappingProxyType(
    {**_HOST, **_TIMES, **GENERAL, "hosts": as_is, "default_base_url": address, "hop": text}
)
