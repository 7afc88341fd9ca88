"""Any server that speaks OpenAI, at a fixed address: another LanHaven, vLLM, a cloud; or several that have one model.

    models:
      - id: big
        provider: openai
        config:
          base_url: https://llm.example/v1      # with or without /v1
          model: llama-3.3-70b                  # its name there; not said = the id
          api_key: sk-...
          slots: 8                              # requests at once; not said = it bounds itself
          context_length: 32768
          kind: llm                             # or vlm, embedding, reranker
          headers: {x-team: lab}
      - id: shared
        provider: openai
        config:
          hosts:                                # in place of base_url
            gpu1: http://gpu1.lan:8000
            gpu2: {base_url: "http://gpu2.lan:8000", model: llama-awq, slots: 4}
            cloud:                              # one of the hosts of config.yaml

A load sends nothing: the server may be down now and up when a request comes. There is no memory of ours in it, so it
costs nothing to keep it loaded. A model of several hosts has an instance for each, `gpu1/shared`, which is there from
the start: the pool chooses among them as among all instances.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import aiohttp

from lanhaven.providers.base import Health, Ignored, Loaded, LoadObserver, ModelEntry, ProviderContext, Running
from lanhaven.providers.hosts.health import health_of, raise_if_all_failed
from lanhaven.providers.hosts.naming import keys_of
from lanhaven.providers.hosts.upstream import ROUTES, upstream_at
from lanhaven.providers.ignoring import admin_name
from lanhaven.providers.openai.config import Entry, Host, Options, read_entry, read_options
from lanhaven.providers.openai.listing import CAPABILITIES
from lanhaven.providers.openai.places import Places
from lanhaven.providers.openai.remote import Remote
from lanhaven.types.chat import PASSED
from lanhaven.types.models import LoadConfig, ModelInfo, ModelKind, Upstream


def create(context: ProviderContext) -> OpenAIProvider:
    """Options: see config.py."""
    return OpenAIProvider(read_options(context.options))


class OpenAIProvider:
    """See the module. clock: monotonic seconds."""

    name = "openai"
    load_fields: frozenset[str] = frozenset({"slots", "idle_ttl"})
    sampling_fields = frozenset({"temperature", "top_p", "max_tokens", "stop", "seed", "stream"})

    def __init__(self, options: Options, clock: Callable[[], float] = time.monotonic) -> None:
        self._options, self._clock = options, clock
        self._hop = (("via", f"1.1 {options.hop}"),) if options.hop else ()
        self._remotes: Mapping[tuple[str, tuple[tuple[str, str], ...]], Remote] = {}  # by address and headers
        self._listing = [self._remote(host) for host in options.hosts.values() if host.sync]
        self._places = Places()
        self._http: aiohttp.ClientSession | None = None
        self._looks: set[asyncio.Task[None]] = set()

    # ---- models

    def describe(self, entry: ModelEntry) -> ModelInfo:
        """InvalidRequest names the setting that is wrong. Asks nothing: the servers may be down now."""
        said = read_entry(entry.config, self._options, entry.load)
        self._places.learn(entry.id, said)
        usual = CAPABILITIES[said.kind]
        return ModelInfo(
            key=entry.id,
            provider=self.name,
            kind=said.kind,
            max_context=said.context_length,
            capabilities=usual if said.capabilities is None else frozenset(said.capabilities),
            guessed=said.capabilities is None and said.kind is ModelKind.LLM,  # is it one that sees? Who knows
            description=entry.description,
            aliases=entry.aliases,
            load=said.load_config,
            sampling=entry.sampling,
            pinned=entry.pinned,
            preload=entry.preload,
            config=entry.config,
        )

    async def models(self) -> Sequence[ModelInfo]:
        """Of the hosts of config.yaml; of one that does not answer, what it said last. Raises if none answers."""
        remotes, every = self._listing, self._options.list_every
        raise_if_all_failed(await asyncio.gather(*(each.models(every) for each in remotes), return_exceptions=True))
        theirs = [(each.host, model) for each in remotes for model in each.known]
        keys = keys_of((host.name, host.prefix + model.name) for host, model in theirs)
        infos: dict[str, ModelInfo] = {}
        for host, model in theirs:
            name = host.prefix + model.name
            if (key := keys.get((host.name, name))) is not None:
                aliases = {f"{host.name}/{model.name}", f"{host.name}/{name}"} - {key}
                infos.setdefault(key, model.info(key, self.name, host.name, tuple(sorted(aliases))))
        return tuple(infos.values())

    # ---- instances

    async def instances(self) -> Sequence[Running] | None:
        """Those that were loaded, and of models that several hosts have one for each host. Waits for nobody: hosts are
        looked at meanwhile, for the next time."""
        loaded = self._places.loaded()
        found = [Running(name, "", away=None if host is None else self._away(host)) for name, host in loaded]
        for name, key, entry, host in self._places.standing():
            upstream, away = self._upstream(entry, host, key), self._away(host)
            found.append(Running(name, key, 0, upstream, entry.load_config, away, foreign=False))
        return found

    def _away(self, host: Host) -> str | None:
        """Why a host takes no requests, as it was when it was looked at last."""
        remote = self._remote(host)
        if not remote.asked_within(self._options.probe_every):
            self._look(remote)
        return remote.away

    def _look(self, remote: Remote) -> None:
        task = asyncio.create_task(remote.look(), name=f"look at {remote.host.name}")
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    def estimate(self, info: ModelInfo, config: LoadConfig) -> int:
        return 0

    async def load(self, info: ModelInfo, instance_id: str, config: LoadConfig, observer: LoadObserver) -> Loaded:
        said = read_entry(info.config, self._options, info.load)
        host = self._places.choose(info.key, said, instance_id, lambda each: self._remote(each).away is not None)
        upstream = self._upstream(said, host, info.key, config.slots)
        known = LoadConfig(context_length=said.context_length, slots=upstream.slots, idle_ttl=config.idle_ttl)
        self._places.load(info.key, said, instance_id, host)
        observer.progress("ready", 1.0)
        asked = {name: value for name, value in config.said().items() if value != known.said().get(name)}
        ignored = tuple(
            Ignored(admin_name(name), "another server runs this model; it decides how")
            for name in sorted(asked.keys() - self.load_fields)
        )
        applied = {"slots": upstream.slots} if config.slots is not None else {}
        return Loaded(upstream=upstream, load_config=known, applied=applied, ignored=ignored)

    async def unload(self, instance_id: str) -> None:
        """One that is there from the start stays out of use until the model is loaded on order."""
        self._places.unload(instance_id)

    # ---- as such

    async def health(self) -> Health:
        """Asks every server, all at once. Addresses are not in the text."""
        pulses = await asyncio.gather(*(each.pulse() for each in self._in_use()))
        if not pulses:
            return Health(True, "server", "no model uses it")
        named, others = [each for each in pulses if each.name], [each for each in pulses if not each.name]
        up = sum(each.error is None for each in others)
        told = health_of(named).detail if named else ""
        counted = f"{up} of {len(others)} servers answer" if others else ""
        whole = health_of(pulses)
        well = up == len(others) and (not named or health_of(named).ok)
        return replace(whole, ok=well, detail="; ".join(filter(None, (told, counted))))

    def logs(self, instance_id: str) -> Sequence[str]:
        return ()

    async def aclose(self) -> None:
        self._places.clear()
        for task in self._looks:
            task.cancel()
        await asyncio.gather(*self._looks, return_exceptions=True)
        if self._http is not None:
            await self._http.close()

    def _remote(self, host: Host) -> Remote:
        """The server at this address, asked with these headers. May be called in a thread."""
        place = (host.base_url, host.sent)
        if place not in self._remotes:
            self._remotes = {**self._remotes, place: Remote(host, (*host.sent, *self._hop), self._session, self._clock)}
        return self._remotes[place]

    def _in_use(self) -> Sequence[Remote]:
        """Those of config.yaml, and of models.yaml as it is now: one whose address was corrected is asked no more."""
        hosts = (*(each.host for each in self._listing), *self._places.hosts())
        return tuple(dict.fromkeys(self._remote(host) for host in hosts))

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None or self._http.closed:
            connector = aiohttp.TCPConnector(force_close=True)  # it is asked seldom
            self._http = aiohttp.ClientSession(connector=connector, trust_env=False)
        return self._http

    def _upstream(self, entry: Entry, host: Host, key: str, slots: int | None = None) -> Upstream:
        passed = {route for route in PASSED if route.capability in (entry.capabilities or ())}
        headers, model = (*host.sent, *self._hop), host.model or key
        return upstream_at(host.base_url, headers, model, ROUTES[entry.kind] | passed, slots or host.slots)

    def __repr__(self) -> str:
        return f"OpenAIProvider({list(self._remotes.values())} {self._places})"
