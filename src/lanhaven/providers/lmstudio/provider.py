"""LM Studio, on this machine or others: its models, loaded and unloaded through its own protocol, asked over HTTP.

    models:
      - id: house-model
        provider: lmstudio
        config:
          model: qwen2.5-7b-instruct   # its key in LM Studio; not said = the id
          host: mac                    # one of the hosts of config.yaml; not said = the first one
          kind: llm                    # or vlm, embedding; not said = as LM Studio says, else llm
          layers: 28                   # so that gpu.layers can become the ratio that LM Studio wants

All models of LM Studio are in the catalog without an entry. Where no LM Studio is configured nothing is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lanhaven.lmstudio.load_keys import ADMIN_NAMES, to_fields
from lanhaven.providers.base import (
    Health,
    Ignored,
    Loaded,
    LoadObserver,
    ModelEntry,
    ProviderContext,
    Running,
    Tell,
    tell_nobody,
)
from lanhaven.providers.hosts.health import health_of, raise_if_all_failed
from lanhaven.providers.hosts.upstream import routes_for, upstream_at
from lanhaven.providers.lmstudio.config import Hosts, read_entry, read_hosts
from lanhaven.providers.lmstudio.layers import layers_of
from lanhaven.providers.lmstudio.link import TLS, Sleep
from lanhaven.providers.lmstudio.loading import Order
from lanhaven.providers.lmstudio.log_following import Following
from lanhaven.providers.lmstudio.models import Running as There
from lanhaven.providers.lmstudio.models import Studied
from lanhaven.providers.lmstudio.names import Names, Place
from lanhaven.providers.lmstudio.rest import FIELDS, NO_FIELD
from lanhaven.providers.lmstudio.studio import Studio
from lanhaven.types.models import LoadConfig, ModelInfo, ModelKind

_ADOPTED = "an instance of this name was loaded already, and keeps its config"


def create(context: ProviderContext) -> LMStudioProvider:
    """Options: see config.py."""
    return LMStudioProvider(read_hosts(context.options), tell=context.tell)


class LMStudioProvider:
    """See the module. sleep: what lies between two attempts to connect. tls: how certificates are checked; True =
    against those that the system trusts. tell: takes what its logs say, where they are followed."""

    name = "lmstudio"
    load_fields = frozenset(LoadConfig.__slots__) - {"cpu_threads"}
    sampling_fields = frozenset(
        {"temperature", "top_p", "top_k", "repeat_penalty", "max_tokens", "stop", "seed", "stream"}
    )

    def __init__(self, hosts: Hosts, sleep: Sleep = asyncio.sleep, tls: TLS = True, tell: Tell = tell_nobody) -> None:
        self._hosts, self._sleep, self._tls = hosts, sleep, tls
        followed = ((host.name, host.log_dir) for host in hosts.known.values() if host.follow_log)
        self._following = [Following(name, folder, tell) for name, folder in followed if folder is not None]
        self._studios: Mapping[str, Studio] = {name: Studio(host, sleep, tls) for name, host in hosts.known.items()}
        self._names = Names()

    def describe(self, entry: ModelEntry) -> ModelInfo:
        """InvalidRequest names the setting that is wrong. Asks nothing: LM Studio may be down now."""
        said = read_entry(entry.config)
        studio = self._studio(said.host)
        known = studio.model(said.model or entry.id)
        kind = said.kind or (known.kind if known is not None else None)
        model = known or Studied(said.model or entry.id, ModelKind.LLM)
        info = replace(model, kind=kind or model.kind).info(entry.id, self.name, studio.host.name)
        info = replace(info, layers=said.layers, config=entry.config)
        return info if kind is not None else replace(info, capabilities=frozenset())  # nobody knows yet

    async def models(self) -> Sequence[ModelInfo]:
        """Of all hosts; of one that does not answer, what it said last. Raises if none answers."""
        for each in self._following:
            each.begin()
        studios = tuple(self._studios.values())
        answers = await asyncio.gather(*(each.models() for each in studios), return_exceptions=True)
        raise_if_all_failed(answers)
        infos = self._names.infos(self.name, {each.host.name: each.known for each in studios})
        relaying = {each.host.name for each in studios if each.relays}
        return tuple(replace(each, relayed=each.config["host"] in relaying) for each in infos)

    async def instances(self) -> Sequence[Running] | None:
        """Of all hosts. What ran on one that does not answer is taken to run still: unreachable is not empty."""
        studios = tuple(self._studios.values())
        before = {each.host.name: self._names.of(each.host.name) for each in studios}
        answers = await asyncio.gather(*(each.running() for each in studios), return_exceptions=True)
        raise_if_all_failed(answers)
        found: list[Running] = []
        for studio, answer in zip(studios, answers, strict=True):
            host = studio.host.name
            if isinstance(answer, BaseException):
                found += [Running(name, "") for name in before[host]]
            else:
                now = [self._running(studio, each) for each in answer]
                for gone in set(before[host]) - {each.instance_id for each in now}:
                    self._names.forget(gone)
                found += now
        return found

    def estimate(self, info: ModelInfo, config: LoadConfig) -> int:
        return 0  # LM Studio guards the memory of its machine itself

    async def load(self, info: ModelInfo, instance_id: str, config: LoadConfig, observer: LoadObserver) -> Loaded:
        said = read_entry(info.config)
        studio = self._studio(said.host)
        key = said.model or info.key
        model = studio.model(key)
        kind = said.kind or (model.kind if model is not None else info.kind)
        embedding = kind is ModelKind.EMBEDDING
        layers = said.layers or info.layers
        if config.gpu_layers is not None and layers is None and model is not None:
            layers = await layers_of(studio.host.models_dir, model.path)
        fields, applied, ignored = to_fields(config, embedding=embedding, layers=layers)
        name = self._names.identifier(studio.host.name, instance_id)
        order = Order(model=key, identifier=name, embedding=embedding, fields=tuple(fields), ttl=config.idle_ttl)
        outcome, by_rest = await studio.load(order, config, observer)
        identifier = outcome.running.identifier
        self._names.learn(instance_id, Place(studio.host.name, identifier, embedding))
        observer.progress("ready", 1.0)
        applied, ignored = _settled(applied, ignored, adopted=outcome.adopted, by_rest=by_rest)
        known = outcome.running.config
        return Loaded(
            upstream=upstream_at(
                studio.host.base_url, studio.host.headers, identifier, routes_for(embedding=embedding), known.slots
            ),
            load_config=replace(known, idle_ttl=config.idle_ttl),
            size_bytes=outcome.running.size_bytes,
            applied=applied if config.idle_ttl is None else {**applied, "ttlSeconds": config.idle_ttl},
            ignored=tuple(Ignored(name, why) for name, why in ignored),
        )

    async def unload(self, instance_id: str) -> None:
        place = self._names.place(instance_id)
        if place is not None:
            await self._studios[place.host].unload(place.identifier, place.embedding)
            self._names.forget(instance_id)

    async def health(self) -> Health:
        """Asks every host at once."""
        return health_of(await asyncio.gather(*(each.pulse() for each in self._studios.values())))

    def logs(self, instance_id: str) -> Sequence[str]:
        return ()

    async def aclose(self) -> None:
        following = (each.aclose() for each in self._following)
        await asyncio.gather(*following, *(each.aclose() for each in self._studios.values()))

    def _studio(self, name: str | None) -> Studio:
        """Of this host. The default one is not asked before a model needs it. May be called in a thread."""
        host = self._hosts.named(name)
        if host.name not in self._studios:
            self._studios = {**self._studios, host.name: Studio(host, self._sleep, self._tls)}
        return self._studios[host.name]

    def _running(self, studio: Studio, there: There) -> Running:
        host = studio.host
        name = self._names.named(Place(host.name, there.identifier, there.embedding))
        embedding, slots = there.embedding, there.config.slots
        upstream = upstream_at(host.base_url, host.headers, there.identifier, routes_for(embedding=embedding), slots)
        return Running(name, self._names.key_of(host.name, there.model), there.size_bytes, upstream, there.config)

    def __repr__(self) -> str:
        return f"LMStudioProvider({list(self._studios.values())} {self._names!r})"


def _settled(
    applied: Mapping[str, object], ignored: tuple[tuple[str, str], ...], *, adopted: bool, by_rest: bool
) -> tuple[dict[str, object], tuple[tuple[str, str], ...]]:
    """What holds of it, if the instance was there already, or the REST API loaded it."""
    if not adopted and not by_rest:
        return dict(applied), ignored
    kept = frozenset() if adopted else frozenset(ADMIN_NAMES[name] for name in FIELDS)
    why = _ADOPTED if adopted else NO_FIELD
    lost = tuple((name, why) for name in applied if name not in kept)
    return {name: value for name, value in applied.items() if name in kept}, (*ignored, *lost)
