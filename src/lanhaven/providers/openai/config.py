"""Which servers there are: the provider's block in config.yaml, and the addresses of models.yaml.

    providers:
      openai:
        probe_every: 5              # seconds between two looks at a host that serves a model together with others
        list_every: 10              # seconds between two looks at a host's list of models
        hosts:
          gpu1: {base_url: "http://gpu1.lan:8000", api_key: "sk-...", slots: 8}
          cloud: {base_url: "https://llm.example/v1", include: ["llama-*"], exclude: ["*-preview"], prefix: "cloud/"}
          gpu2: {base_url: "http://gpu2.lan:8000", sync: false}   # for models.yaml alone

base_url, api_key and headers beside `hosts` hold for models of models.yaml that say no address of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

from lanhaven.errors import InvalidRequest
from lanhaven.providers.hosts.settings import address, read_named, secret
from lanhaven.providers.settings import (
    GENERAL,
    Reader,
    as_is,
    flag,
    integer,
    model_kind,
    read_all,
    shaped,
    some_seconds,
    text,
    wrong,
)
from lanhaven.types.models import LoadConfig, ModelKind

PROBE_EVERY, LIST_EVERY = 5.0, 10.0
RESERVED_HEADERS = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding", "via"}
)

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_VALUE = re.compile(r"[\x20-\x7e\t]*")
_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A server. name: "" where a model of models.yaml has its address alone. model: the name of that model there.

    slots: requests that it gets at once for one model. The others concern its list of models.
    """

    name: str = ""
    base_url: str
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=lambda: _NONE, repr=False)
    slots: int | None = None
    model: str | None = None
    sync: bool = True
    prefix: str = ""
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()

    @property
    def sent(self) -> tuple[tuple[str, str], ...]:
        """The headers of requests to it."""
        key = {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return tuple((key | {name.lower(): value for name, value in self.headers.items()}).items())

    def offers(self, model: str) -> bool:
        """Whether a model of its list is wanted."""
        wanted = any(fnmatchcase(model, pattern) for pattern in self.include)
        return wanted and not any(fnmatchcase(model, pattern) for pattern in self.exclude)


@dataclass(frozen=True, slots=True)
class Options:
    """The provider's own. shared: settings for models that have none of their own. hop: what this server calls itself
    towards others ("lanhaven-..."), None = nothing."""

    hosts: Mapping[str, Host] = field(default_factory=dict)
    shared: Mapping[str, Any] = field(default_factory=dict, repr=False)
    probe_every: float = PROBE_EVERY
    list_every: float = LIST_EVERY
    hop: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The provider's own settings of a model in models.yaml. listed: it says `hosts`, one or several that all have the
    model; else `hosts` holds the one place that it says."""

    hosts: tuple[Host, ...]
    listed: bool = False
    context_length: int | None = None
    kind: ModelKind = ModelKind.LLM
    capabilities: tuple[str, ...] | None = None  # instead of those of the kind; also speech, transcription ...
    load: LoadConfig = LoadConfig()  # the model's load profile

    @property
    def load_config(self) -> LoadConfig:
        """How it runs there, as far as is known."""
        return self.load.over(LoadConfig(context_length=self.context_length))


def read_options(options: Mapping[str, Any]) -> Options:
    """InvalidRequest names what is wrong."""
    said = read_all(options, _OPTIONS, "the openai provider")
    hosts = {name: Host(name=name, **each) for name, each in read_named(said.get("hosts", {}), _HOST).items()}
    own = {name: said[name] for name in ("probe_every", "list_every", "hop") if name in said}
    return Options(hosts, {name: said[name] for name in _SHARED if name in said}, **own)


def read_entry(values: Mapping[str, Any], options: Options, load: LoadConfig) -> Entry:
    """load: the model's load profile. InvalidRequest names what is wrong."""
    own = read_all(values, _ENTRY, "openai")
    places = [name for name in ("base_url", "host", "hosts") if name in own]
    if len(places) > 1:
        raise InvalidRequest(f"config has {' and '.join(places)}: say one of them.", param=places[1])
    said = own if places else {**options.shared, **own}  # the key of one address is not sent to another
    usual: dict[str, Any] = {name: said[name] for name in ("api_key", "headers", "slots", "model") if name in said}
    if load.slots is not None:
        usual.setdefault("slots", load.slots)
    rest: dict[str, Any] = {name: said[name] for name in ("context_length", "kind", "capabilities") if name in said}
    return Entry(hosts=_places(said, usual, options), listed="hosts" in said, load=load, **rest)


def _places(said: Mapping[str, Any], usual: Mapping[str, Any], options: Options) -> tuple[Host, ...]:
    """usual: what holds where a host does not say it for this model."""
    if "hosts" in said:
        named = said["hosts"]
        named = dict.fromkeys(named) if isinstance(named, list) else named
        found = read_named(named, _PLACE, options.hosts)
        if not found:
            raise InvalidRequest("config.hosts names no host.", param="hosts")
        return tuple(_place(name, each, usual, options) for name, each in found.items())
    if "host" in said:
        if said["host"] not in options.hosts:
            known = ", ".join(options.hosts) or "none"
            raise InvalidRequest(f"There is no openai host {said['host']!r}; there are: {known}.", param="host")
        return (_place(said["host"], {}, usual, options),)
    if "base_url" not in said:
        raise InvalidRequest("A model of openai needs a base_url, or the host(s) that have it.", param="base_url")
    return (Host(base_url=said["base_url"], **usual),)


def _place(name: str, own: Mapping[str, Any], usual: Mapping[str, Any], options: Options) -> Host:
    """What is said for this model and host, over what is said for the model, over what is said for the host.

    A host of config.yaml at another address is another one: the key that it has there stays there.
    """
    known = options.hosts.get(name) if "base_url" not in own else None
    there = {"base_url": known.base_url, "api_key": known.api_key, "headers": known.headers} if known else {}
    slots = {"slots": known.slots} if known and known.slots is not None else {}
    return Host(name=name, **{**there, **slots, **usual, **own})


@shaped(type="object", additionalProperties={"type": "string"})
def _headers(key: str, value: Any) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise InvalidRequest(f"config.{key} must be a mapping of names to texts.", param=key)
    for name, each in value.items():
        usable = _TOKEN.fullmatch(str(name)) and isinstance(each, str) and _VALUE.fullmatch(each)
        if not usable or str(name).lower() in RESERVED_HEADERS:
            raise InvalidRequest(f"Header {str(name)[:40]!r} cannot be sent.", param=key)
    return MappingProxyType({str(name): each for name, each in value.items()})


@shaped(anyOf=[{"type": "string"}, {"type": "array", "items": {"type": "string"}}])
def _words(key: str, value: Any) -> tuple[str, ...]:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(each, str) and each for each in words):
        raise wrong(key, value, "a list of words")
    return tuple(words)


_SHARED: Mapping[str, Reader] = MappingProxyType({"base_url": address, "api_key": secret, "headers": _headers})
_PLACE: Mapping[str, Reader] = MappingProxyType({**_SHARED, "slots": integer(1), "model": text})
_HOST: Mapping[str, Reader] = MappingProxyType(
    {**_SHARED, "slots": integer(1), "sync": flag, "prefix": text, "include": _words, "exclude": _words}
)
_OPTIONS: Mapping[str, Reader] = MappingProxyType(
    {**_SHARED, **GENERAL, "hosts": as_is, "probe_every": some_seconds, "list_every": some_seconds, "hop": text}
)
_ENTRY: Mapping[str, Reader] = MappingProxyType(
    {
        **_PLACE,
        "host": text,
        "hosts": as_is,
        "context_length": integer(1),
        "kind": model_kind,
        "capabilities": _words,
    }
)
