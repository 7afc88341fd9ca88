"""Loading over the WebSocket: `loadModel`, always a new instance, and `getOrLoad`, just in time.

Both tell the pool's own progress. It never falls, ends at 1, and is repeated while nothing moves: Python's clients give
up on a channel that is silent for 60 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog

from lanhaven.dialects.lmstudio_endpoint import ADMIN, Channel, ChannelHandler, Peer
from lanhaven.dialects.lmstudio_errors import already_exists
from lanhaven.dialects.lmstudio_models import EMBEDDING, facts_of, find_instance, find_models, instance_info, model_info
from lanhaven.dialects.lmstudio_ws_fields import optional, positive, table, text
from lanhaven.errors import ModelNotFound
from lanhaven.events import GatewayEvent, ModelLoadProgress, ModelLoadStart, ModelUnloadStart
from lanhaven.gateway import Gateway
from lanhaven.lmstudio.load_keys import from_stack
from lanhaven.types.models import Instance, InstanceState, LoadConfig, ModelInfo

HEARTBEAT = 15.0  # seconds

Report = Callable[[str, float], Awaitable[None]]
_COMING_OR_THERE = frozenset({InstanceState.LOADING, InstanceState.READY})


class Watch:
    """What the bus says of one instance while it is loaded: the newest progress, and whom it drove out."""

    def __init__(self, gateway: Gateway, instance_id: str) -> None:
        self._gateway = gateway
        self._instance_id = instance_id
        self.started = False
        self.progress = 0.0
        self.evicted: list[Instance] = []
        self.changed = asyncio.Event()

    def heard(self, event: GatewayEvent) -> None:
        """A listener of the bus."""
        match event:
            case ModelLoadStart() if event.instance_id == self._instance_id:
                self.started = True
            case ModelLoadProgress() if event.instance_id == self._instance_id:
                self.started = True
                self.progress = max(self.progress, min(event.progress or 0.0, 1.0))
            case ModelUnloadStart() if event.reason == "evicted" and not self.started:
                victim = self._gateway.pool.get(event.instance_id)
                if victim is not None:
                    self.evicted.append(victim)
            case _:
                return
        self.changed.set()


@dataclass(frozen=True, slots=True)
class Packets:
    """The two calls have two sets of names for the same; JavaScript knows only its own (`load` is a prefix)."""

    progress: str
    success: str


LOAD, GET_OR_LOAD = Packets("progress", "success"), Packets("loadProgress", "loadSuccess")


async def load_model(domain: str, peer: Peer, channel: Channel, parameter: Any) -> None:
    """`loadModel`: resolved, progress..., success. The instance stays until it is unloaded, or its TTL ends it."""
    peer.need(ADMIN)
    gateway, asked = peer.context.gateway, table(parameter)
    found = find_models(gateway, text(asked, "modelKey"), domain)
    info = found[0]
    identifier = optional(asked, "identifier", text)
    if identifier is not None and is_taken(gateway, identifier):
        raise already_exists(identifier)
    config = replace(_config(asked, domain), idle_ttl=_seconds(asked, "ttlMs") or 0.0)
    others = {"ambiguous": [facts_of(each).path for each in found]} if len(found) > 1 else {}
    await channel.send({"type": "resolved", "info": model_info(info), **others})
    name = identifier or gateway.catalog.default_instance_id(info.key, gateway.pool.ids())
    load = gateway.load(info.key, instance_id=name, config=config, activate=gateway.catalog.active is None)
    await _loaded(gateway, channel, info, name, load, LOAD, started=True)


async def get_or_load(domain: str, peer: Peer, channel: Channel, parameter: Any) -> None:
    """`getOrLoad`: alreadyLoaded; or startLoading, unloadingOtherJITModel..., loadProgress..., loadSuccess.

    What it loads is an automatic instance like that of any request: it goes when it is idle, or when room is needed.
    """
    gateway, asked = peer.context.gateway, table(parameter)
    name = text(asked, "identifier")
    try:
        there = find_instance(gateway, name, domain)
    except ModelNotFound:
        pass
    else:
        await channel.send({"type": "alreadyLoaded", "info": instance_info(*there)})
        return
    info = find_models(gateway, name, domain)[0]
    config = replace(_config(asked, domain), idle_ttl=_seconds(asked, "loadTtlMs")).over(info.load)
    coming = next((each for each in _coming(gateway, info.key)), None)
    if coming is not None:  # what is on its way is not compared with what is asked, nor is what is there
        config, identifier = coming.load_config, coming.instance_id
    else:
        identifier = gateway.catalog.default_instance_id(info.key, gateway.pool.ids())
    load = gateway.pool.load(
        info, instance_id=identifier, config=config, sampling=info.sampling, automatic=True, pinned=info.pinned
    )
    await _loaded(gateway, channel, info, identifier, load, GET_OR_LOAD, started=False)


def channels(domain: str) -> Mapping[str, ChannelHandler]:
    """The two, for one of the namespaces `llm` and `embedding`."""
    return {"loadModel": partial(load_model, domain), "getOrLoad": partial(get_or_load, domain)}


def is_taken(gateway: Gateway, identifier: str) -> bool:
    """Whether an instance of this name is there or on its way; one that leaves or failed makes place for a new one."""
    there = gateway.pool.get(identifier)
    return there is not None and there.state in _COMING_OR_THERE


async def _loaded(
    gateway: Gateway,
    channel: Channel,
    info: ModelInfo,
    identifier: str,
    load: Coroutine[Any, Any, Any],
    words: Packets,
    *,
    started: bool,
) -> None:
    """Run the load, and tell of it. `started`: the client knows of the load already."""
    watch = Watch(gateway, identifier)
    async with _running(gateway, channel, watch, load) as task:
        teller = _Teller(gateway, channel, watch, info, identifier, words, told_start=started)
        while not task.done():
            await teller.tell()
            await _changed(watch)
        if task.cancelled():
            return  # the client did not want it any more
        task.result()
        await teller.finish()


@dataclass(slots=True)
class _Teller:
    """Turns what the watch saw into packets."""

    gateway: Gateway
    channel: Channel
    watch: Watch
    info: ModelInfo
    identifier: str
    words: Packets
    told_start: bool
    told: float = 0.0
    silent: bool = True

    async def tell(self, *, everything: bool = False) -> None:
        """What is new; the same progress again if nothing is."""
        await self._evictions()
        if not self.told_start:
            if not (self.watch.started or everything or not self.silent):
                self.silent = False  # waiting for room: next time it is said that the load begins, to say something
                return
            self.told_start = True
            await self.channel.send(
                {"type": "startLoading", "identifier": self.identifier, "info": model_info(self.info)}
            )
        self.told = max(self.told, self.watch.progress)
        await self.channel.send({"type": self.words.progress, "progress": self.told})

    async def _evictions(self) -> None:
        victims, self.watch.evicted = self.watch.evicted, []
        for victim in victims:
            model = self.gateway.catalog.get(victim.model_key)
            if model is not None and self.words is GET_OR_LOAD:
                await self.channel.send({"type": "unloadingOtherJITModel", "info": instance_info(model, victim)})

    async def finish(self) -> None:
        """The last packets."""
        self.watch.progress = 1.0
        if not self.told_start or self.told < 1.0:
            await self.tell(everything=True)
        instance = self.gateway.pool.get(self.identifier)
        if instance is None:
            raise ModelNotFound(f"The instance {self.identifier} was unloaded as soon as it was loaded.", retry=True)
        await self.channel.send({"type": self.words.success, "info": instance_info(self.info, instance)})


async def _changed(watch: Watch) -> None:
    """Until the watch saw something, or it is time to say anything."""
    try:
        async with asyncio.timeout(HEARTBEAT):
            await watch.changed.wait()
    except TimeoutError:
        return
    watch.changed.clear()


@asynccontextmanager
async def _running(
    gateway: Gateway, channel: Channel, watch: Watch, load: Coroutine[Any, Any, Any]
) -> AsyncIterator[asyncio.Task[Any]]:
    """The load as a task, watched; cancelled with the channel. The pool goes on with it for others who wait."""
    gateway.bus.listen(watch.heard)
    task = asyncio.create_task(load)
    task.add_done_callback(lambda _: watch.changed.set())
    stop = asyncio.create_task(channel.cancelled.wait())
    stop.add_done_callback(lambda _: task.cancel())
    try:
        yield task
    finally:
        gateway.bus.unlisten(watch.heard)
        stop.cancel()
        task.cancel()
        await asyncio.wait((task, stop))


def _coming(gateway: Gateway, key: str) -> list[Instance]:
    return [each for each in gateway.pool.instances() if each.model_key == key and each.state is InstanceState.LOADING]


def _config(asked: Mapping[str, Any], domain: str) -> LoadConfig:
    config, ignored = from_stack(asked.get("loadConfigStack"), embedding=domain == EMBEDDING)
    if ignored:
        structlog.get_logger().info("load_keys_ignored", keys=", ".join(key for key, _ in ignored))
    return config


def _seconds(asked: Mapping[str, Any], name: str) -> float | None:
    milliseconds = optional(asked, name, positive)
    return None if milliseconds is None else milliseconds / 1000
