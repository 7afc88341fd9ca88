"""Loading over the WebSocket: `loadModel`, always a new instance, and `getOrLoad`, just in time.

Both tell the pool's own progress. It never falls, ends at 1, and is repeated while nothing moves: Python's clients give
up on a channel that is silent for 60 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog

from lanhaven.dialects.lmstudio.errors import already_exists
from lanhaven.dialects.lmstudio.models import EMBEDDING, facts_of, find_instance, find_models, instance_info, model_info
from lanhaven.dialects.lmstudio.ws.endpoint import ADMIN, INFERENCE, Channel, ChannelHandler, Peer
from lanhaven.dialects.lmstudio.ws.fields import optional, positive, table, text
from lanhaven.errors import ModelNotFound
from lanhaven.events import GatewayEvent, ModelLoadProgress, ModelLoadStart, ModelUnloadStart
from lanhaven.gateway import Gateway
from lanhaven.lmstudio.load_keys import from_stack
from lanhaven.types.models import Instance, InstanceState, LoadConfig, ModelInfo

HEARTBEAT = 15.0  # seconds

_COMING_OR_THERE = frozenset({InstanceState.LOADING, InstanceState.READY})


class Watch:
    """What the bus says of one instance while it is loaded: the newest progress, and whom it drove out."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.identifier = ""  # of the instance, once it is ordered
        self.started = False
        self.progress = 0.0
        self.evicted: list[Instance] = []
        self.changed = asyncio.Event()

    def heard(self, event: GatewayEvent) -> None:
        """A listener of the bus."""
        match event:
            case ModelLoadStart() if event.instance_id == self.identifier:
                self.started = True
            case ModelLoadProgress() if event.instance_id == self.identifier:
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


Ordering = Callable[[Watch], Coroutine[Any, Any, None]]
LOAD, GET_OR_LOAD = Packets("progress", "success"), Packets("loadProgress", "loadSuccess")


async def load_model(domain: str, peer: Peer, channel: Channel, parameter: Any) -> None:
    """`loadModel`: resolved, progress..., success. The instance stays until it is unloaded, or its TTL ends it."""
    peer.need(ADMIN)
    gateway, asked = peer.context.gateway, table(parameter)
    found = find_models(gateway, text(asked, "modelKey"), domain, peer.key_name)
    info = found[0]
    wanted = optional(asked, "identifier", text)
    config = replace(_config(asked, domain), idle_ttl=_seconds(asked, "ttlMs") or 0.0)

    async def order(watch: Watch) -> None:  # from the look at who is there to the order there is no await
        _check_name(gateway, wanted, info)
        name = watch.identifier = wanted or gateway.pool.free_id(info.key)
        await gateway.load(info.key, instance_id=name, config=config, activate=gateway.catalog.active is None)

    _check_name(gateway, wanted, info)
    others = {"ambiguous": [facts_of(each).path for each in found]} if len(found) > 1 else {}
    await channel.send({"type": "resolved", "info": model_info(info), **others})
    await _loaded(peer, channel, info, order, LOAD)


async def get_or_load(domain: str, peer: Peer, channel: Channel, parameter: Any) -> None:
    """`getOrLoad`: alreadyLoaded; or startLoading, unloadingOtherJITModel..., loadProgress..., loadSuccess.

    What it loads is an automatic instance like that of any request: it goes when it is idle, or when room is needed.
    """
    peer.need(INFERENCE)
    gateway, asked = peer.context.gateway, table(parameter)
    name = text(asked, "identifier")
    try:
        there = find_instance(gateway, name, domain, peer.key_name)
    except ModelNotFound:
        pass
    else:
        await channel.send({"type": "alreadyLoaded", "info": instance_info(*there)})
        return
    info = find_models(gateway, name, domain, peer.key_name)[0]
    config = replace(_config(asked, domain), idle_ttl=_seconds(asked, "loadTtlMs")).over(info.load)

    async def order(watch: Watch) -> None:
        coming = _coming(gateway, info.key)  # its config is not compared with the asked one, as that of a loaded one
        watch.identifier = coming.instance_id if coming else gateway.pool.free_id(info.key)
        await gateway.pool.load(
            info,
            instance_id=watch.identifier,
            config=coming.load_config if coming else config,
            sampling=info.sampling,
            automatic=True,
            pinned=info.pinned,
        )

    await _loaded(peer, channel, info, order, GET_OR_LOAD)


def channels(domain: str) -> Mapping[str, ChannelHandler]:
    """The two, for one of the namespaces `llm` and `embedding`."""
    return {"loadModel": partial(load_model, domain), "getOrLoad": partial(get_or_load, domain)}


def _check_name(gateway: Gateway, identifier: str | None, info: ModelInfo) -> None:
    """InstanceConflict for the name of an instance that is there or on its way, or of another model.

    An instance that leaves, or has failed, makes place for a new one.
    """
    if identifier is None:
        return
    there = gateway.pool.get(identifier)
    if there is not None and there.state in _COMING_OR_THERE:
        raise already_exists(identifier)
    other = gateway.catalog.get(identifier)
    if other is not None and other.key != info.key:
        raise already_exists(identifier)  # as a model: requests for that one would come to this instance


async def _loaded(peer: Peer, channel: Channel, info: ModelInfo, order: Ordering, words: Packets) -> None:
    """Load, and tell of it."""
    gateway = peer.context.gateway
    watch = Watch(gateway)
    async with _running(gateway, channel, watch, order(watch)) as task:
        teller = _Teller(peer, channel, watch, info, words)
        idle = False
        while not task.done():
            await teller.tell(idle)
            idle = not await _changed(watch)
        if task.cancelled():
            return  # the client did not want it any more
        task.result()
        await teller.finish()


class _Teller:
    """Turns what the watch saw into packets."""

    def __init__(self, peer: Peer, channel: Channel, watch: Watch, info: ModelInfo, words: Packets) -> None:
        self._gateway, self._client = peer.context.gateway, peer.key_name
        self._channel, self._watch, self._info, self._words = channel, watch, info, words
        self._began = words is LOAD  # that call has its own first packet
        self._told = -1.0

    async def tell(self, again: bool = False) -> None:
        """What is new. `again`: something must be said; where it waits for room, that it begins."""
        await self._evictions()
        if not self._began:
            if not (self._watch.started or again):
                return
            self._began = True
            start = {"type": "startLoading", "identifier": self._watch.identifier, "info": model_info(self._info)}
            await self._channel.send(start)
        if self._watch.progress > self._told or again:
            self._told = max(self._told, self._watch.progress)
            await self._channel.send({"type": self._words.progress, "progress": self._told})

    async def _evictions(self) -> None:
        victims, self._watch.evicted = self._watch.evicted, []
        for victim in victims if self._words is GET_OR_LOAD else ():
            model = self._gateway.catalog.get(victim.model_key)
            if model is not None and self._gateway.admission.allows(self._client, model):
                await self._channel.send({"type": "unloadingOtherJITModel", "info": instance_info(model, victim)})

    async def finish(self) -> None:
        """The last packets."""
        self._watch.started, self._watch.progress = True, 1.0
        await self.tell()
        identifier = self._watch.identifier
        instance = self._gateway.pool.get(identifier)
        if instance is None:
            raise ModelNotFound(f"The instance {identifier} was unloaded as soon as it was loaded.", retry=True)
        await self._channel.send({"type": self._words.success, "info": instance_info(self._info, instance)})


async def _changed(watch: Watch) -> bool:
    """Until the watch saw something; False if it is time to say anything."""
    try:
        async with asyncio.timeout(HEARTBEAT):
            await watch.changed.wait()
    except TimeoutError:
        return False
    watch.changed.clear()
    return True


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
        if not task.cancelled():
            task.exception()  # seen: whoever was cancelled meanwhile does not look at it


def _coming(gateway: Gateway, key: str) -> Instance | None:
    loading = (each for each in gateway.pool.instances() if each.state is InstanceState.LOADING)
    return next((each for each in loading if each.model_key == key), None)


def _config(asked: Mapping[str, Any], domain: str) -> LoadConfig:
    config, ignored = from_stack(asked.get("loadConfigStack"), embedding=domain == EMBEDDING)
    if ignored:
        structlog.get_logger().info("load_keys_ignored", keys=", ".join(key for key, _ in ignored))
    return config


def _seconds(asked: Mapping[str, Any], name: str) -> float | None:
    milliseconds = optional(asked, name, positive)
    return None if milliseconds is None else milliseconds / 1000
