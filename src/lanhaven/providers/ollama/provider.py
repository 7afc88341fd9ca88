"""Ollama, on this machine or others: its models, loaded and unloaded through its own API, asked over its OpenAI routes.

    models:
      - id: house-model
        provider: ollama
        config:
          model: qwen3:8b      # its name in Ollama; not said = the id
          host: mac            # one of the hosts of config.yaml; not said = the first one
          kind: llm            # or vlm, embedding; not said = as Ollama says, else llm

All models of Ollama are in the catalog without an entry. Where no Ollama is configured nothing is asked. Ollama holds a
model once: instances of one model are one there, and it ends with the last of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from lanhaven.errors import GatewayError, InvalidRequest, LoadFailed
from lanhaven.providers.base import Health, Ignored, Loaded, LoadObserver, ModelEntry, ProviderContext, Running
from lanhaven.providers.hosts.health import health_of, raise_if_all_failed
from lanhaven.providers.hosts.naming import keys_of
from lanhaven.providers.hosts.upstream import routes_for, upstream_at
from lanhaven.providers.ollama.config import DEFAULT_NAME, Host, read_entry, read_hosts, read_spare
from lanhaven.providers.ollama.host import Ollama
from lanhaven.providers.ollama.models import LATEST, Tagged, tagged
from lanhaven.providers.ollama.models import Loaded as There
from lanhaven.types.models import LoadConfig, ModelInfo, ModelKind

SIGN_OF_LIFE = 5.0  # seconds between two while Ollama loads: it says nothing itself
# LoadConfig field -> Ollama's option, and the name in replies.
OPTIONS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "context_length": ("num_ctx", "contextLength"),
        "gpu_layers": ("num_gpu", "gpu.layers"),
        "cpu_threads": ("num_thread", "cpuThreads"),
    }
)
NAMES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "gpu_ratio": ("gpu.ratio", "Ollama takes gpu.layers, no ratio"),
        "rope_frequency_base": ("ropeFrequencyBase", "Ollama takes it from the model"),
        "rope_frequency_scale": ("ropeFrequencyScale", "Ollama takes it from the model"),
        "flash_attention": ("flashAttention", "a setting of Ollama's server: OLLAMA_FLASH_ATTENTION"),
        "kv_type": ("kvType", "a setting of Ollama's server: OLLAMA_KV_CACHE_TYPE"),
    }
)


def create(context: ProviderContext) -> OllamaProvider:
    """Options: see config.py."""
    return OllamaProvider(read_hosts(context.options), read_spare(context.options))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an instance is: a host, and the name of the model there."""

    host: str
    model: str


class OllamaProvider:
    """See the module. `spare`: for an entry of models.yaml, where no host is known."""

    name = "ollama"
    load_fields = frozenset({*OPTIONS, "slots", "idle_ttl"})
    sampling_fields = frozenset({"temperature", "top_p", "max_tokens", "stop", "seed", "stream"})

    def __init__(self, hosts: Mapping[str, Host], spare: Host | None = None) -> None:
        self._spare = spare
        self._hosts: Mapping[str, Ollama] = {name: Ollama(host) for name, host in hosts.items()}
        self._keys: Mapping[_Place, str] = {}  # what the catalog calls a model
        self._places: dict[str, _Place] = {}  # by instance
        self._loading: list[_Place] = []

    # ---- models

    def describe(self, entry: ModelEntry) -> ModelInfo:
        """InvalidRequest names the setting that is wrong. Asks nothing: Ollama may be down now."""
        said = read_entry(entry.config)
        host = self._host(said.host)
        name = tagged(said.model or entry.id)
        known = host.model(name)
        info = (known or Tagged(name)).info(entry.id, self.name, host.host.name)
        kind = said.kind or info.kind
        able = info.capabilities if known is not None or kind is not ModelKind.EMBEDDING else frozenset({"embedding"})
        return replace(info, kind=kind, capabilities=able, config=entry.config)

    async def models(self) -> Sequence[ModelInfo]:
        """Of all hosts; of one that does not answer, what it said last. Raises if none answers."""
        hosts = tuple(self._hosts.values())
        raise_if_all_failed(await asyncio.gather(*(each.models() for each in hosts), return_exceptions=True))
        theirs = [(host.host.name, model, model.name.removesuffix(LATEST)) for host in hosts for model in host.known]
        keys = keys_of((name, short) for name, _, short in theirs)
        infos: dict[str, ModelInfo] = {}
        for name, model, short in theirs:
            if (key := keys.get((name, short))) is not None:
                aliases = {model.name, f"{name}/{short}", f"{name}/{model.name}"} - {key}
                info = model.info(key, self.name, name, tuple(sorted(aliases)))
                infos.setdefault(key, replace(info, relayed=self._hosts[name].relays is True))
        self._keys = {_Place(name, model.name): keys.get((name, short), short) for name, model, short in theirs}
        return tuple(infos.values())

    # ---- instances

    async def instances(self) -> Sequence[Running] | None:
        """Of all hosts. What ran on one that does not answer is taken to run still: unreachable is not empty."""
        hosts = tuple(self._hosts.values())
        before = dict(self._places)
        answers = await asyncio.gather(*(each.loaded() for each in hosts), return_exceptions=True)
        raise_if_all_failed(answers)
        found: list[Running] = []
        for host, answer in zip(hosts, answers, strict=True):
            ours = [name for name, place in before.items() if place.host == host.host.name]
            if isinstance(answer, BaseException):
                found += [Running(name, "") for name in ours]
            else:
                found += self._compare(host, answer, ours)
        return found

    def _compare(self, host: Ollama, loaded: Sequence[There], ours: Sequence[str]) -> list[Running]:
        found: list[Running] = []
        name = host.host.name
        for each in loaded:
            place = _Place(name, each.name)
            instances = [one for one, where in self._places.items() if where == place]
            if not instances:  # somebody else loaded it
                instances = [self._keys.get(place, each.name.removesuffix(LATEST))]
                self._places[instances[0]] = place
            found += [self._running(host, one, each) for one in instances]
        there = {each.instance_id for each in found}
        for gone in set(ours) - there:
            if self._places.get(gone) not in self._loading:
                self._places.pop(gone, None)
        return found

    def _running(self, host: Ollama, instance_id: str, there: There) -> Running:
        place = _Place(host.host.name, there.name)
        embedding = _embeds(host, there.name)
        upstream = upstream_at(host.host.base_url, host.host.headers, there.name, routes_for(embedding=embedding))
        config = LoadConfig(context_length=there.context_length)
        return Running(instance_id, self._keys.get(place, ""), there.size_bytes, upstream, config)

    def estimate(self, info: ModelInfo, config: LoadConfig) -> int:
        return 0  # Ollama guards the memory of its machine itself

    async def load(self, info: ModelInfo, instance_id: str, config: LoadConfig, observer: LoadObserver) -> Loaded:
        try:
            said = read_entry(info.config)
            host = self._host(said.host)
        except InvalidRequest as error:
            raise LoadFailed(f"{info.key} could not be loaded: {error.message}", hint=error.hint) from error
        name = tagged(said.model or info.key)
        embedding = (said.kind or info.kind) is ModelKind.EMBEDDING or _embeds(host, name)
        asked = config.said()
        options = {option: asked[field] for field, (option, _) in OPTIONS.items() if field in asked}
        # Known from the beginning: Ollama lists a model while it loads, and one whose load is cancelled in its last
        # moment is ended by the unload that follows.
        self._places[instance_id] = place = _Place(host.host.name, name)
        self._loading.append(place)
        try:
            await _while_told(host.load(name, options, _keep_alive(config), embedding=embedding), observer)
        except GatewayError:
            self._places.pop(instance_id, None)
            raise
        finally:
            self._loading.remove(place)
        there = await _as_it_is(host, name)
        observer.progress("ready", 1.0)
        return Loaded(
            upstream=upstream_at(
                host.host.base_url, host.host.headers, name, routes_for(embedding=embedding), config.slots
            ),
            load_config=replace(config, context_length=there.context_length or config.context_length),
            size_bytes=there.size_bytes,
            applied=_applied(config, there),
            ignored=tuple(Ignored(*NAMES[field]) for field in asked if field in NAMES),
        )

    async def unload(self, instance_id: str) -> None:
        place = self._places.pop(instance_id, None)
        if place is not None and place not in self._places.values():
            await self._hosts[place.host].unload(place.model)

    # ---- as such

    async def health(self) -> Health:
        """Asks every host at once."""
        return health_of(await asyncio.gather(*(each.pulse() for each in self._hosts.values())))

    def logs(self, instance_id: str) -> Sequence[str]:
        return ()

    async def aclose(self) -> None:
        await asyncio.gather(*(each.aclose() for each in self._hosts.values()))

    def _host(self, name: str | None) -> Ollama:
        """Without a name the first one. InvalidRequest if there is none of this name. May be called in a thread."""
        if not self._hosts and self._spare is not None and name in (None, DEFAULT_NAME):
            self._hosts = {DEFAULT_NAME: Ollama(self._spare)}
        found = next(iter(self._hosts.values()), None) if name is None else self._hosts.get(name)
        if found is None:
            known = ", ".join(self._hosts) or "none"
            which = f"no Ollama host {name!r}" if name is not None else "no Ollama"
            hint = "providers: {ollama: {base_url: http://127.0.0.1:11434}} in config.yaml"
            raise InvalidRequest(f"There is {which}; there are: {known}.", param="host", hint=hint)
        return found

    def __repr__(self) -> str:
        return f"OllamaProvider({list(self._hosts.values())} {sorted(self._places)})"


async def _as_it_is(host: Ollama, name: str) -> There:
    """What Ollama tells of a model that it has just loaded."""
    with suppress(GatewayError):
        return next((each for each in await host.loaded() if each.name == name), There(name))
    return There(name)


async def _while_told(work: Coroutine[Any, Any, None], observer: LoadObserver) -> None:
    """Wait for the load, with signs of life; if cancelled, Ollama is let know by the end of the connection."""
    loop, loading = asyncio.get_running_loop(), asyncio.ensure_future(work)
    began = loop.time()
    observer.progress("loading")
    try:
        while not loading.done():
            await asyncio.wait({loading}, timeout=SIGN_OF_LIFE)
            if not loading.done():
                observer.progress(f"loading ({loop.time() - began:.0f} s)")
    except asyncio.CancelledError:
        loading.cancel()
        await asyncio.wait({loading})
        raise
    loading.result()


def _keep_alive(config: LoadConfig) -> float | None:
    """How long Ollama is to keep it unused: 0 means for ever to us, and at once to Ollama."""
    return None if config.idle_ttl is None else config.idle_ttl or -1


def _applied(config: LoadConfig, there: There) -> dict[str, object]:
    said = config.said()
    applied: dict[str, object] = {name: said[field] for field, (_, name) in OPTIONS.items() if field in said}
    if there.context_length is not None and "context_length" in said:
        applied["contextLength"] = there.context_length
    if config.slots is not None:
        applied["slots"] = config.slots
    return applied if config.idle_ttl is None else {**applied, "ttlSeconds": config.idle_ttl}


def _embeds(host: Ollama, name: str) -> bool:
    known = host.model(name)
    return known is not None and known.kind is ModelKind.EMBEDDING
