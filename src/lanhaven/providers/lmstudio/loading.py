"""Loading a model through LM Studio's WebSocket: the channel `loadModel`, its progress, and its end before its time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from lanhaven.errors import GatewayError, InstanceConflict, LoadFailed, ModelNotFound
from lanhaven.lmstudio.error_data import ErrorData
from lanhaven.lmstudio.load_keys import API_LAYER, from_stack
from lanhaven.providers.lmstudio.link import Link
from lanhaven.providers.lmstudio.models import Running, instance, loaded
from lanhaven.providers.lmstudio.socket import Channel, Refused, Rejected, Unreachable

UNLOAD_SECONDS = 60.0
SILENCE_SECONDS = 3600.0  # the last resort: the pool's own limits (load_stall, load_timeout) come first
UNDO_SECONDS = 15.0

Progress = Callable[[str, float | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to load. model: LM Studio's key. identifier: its name there. ttl: seconds, None or 0 = for ever."""

    model: str
    identifier: str
    embedding: bool
    fields: tuple[Mapping[str, Any], ...] = ()
    ttl: float | None = None

    @property
    def namespace(self) -> str:
        return "embedding" if self.embedding else "llm"

    def parameter(self) -> dict[str, Any]:
        """What the channel is created with."""
        stack = {"layers": [{"layerName": API_LAYER, "config": {"fields": list(self.fields)}}]}
        said = {"modelKey": self.model, "identifier": self.identifier, "loadConfigStack": stack}
        return {**said, "ttlMs": max(1, round(self.ttl * 1000))} if self.ttl else said


@dataclass(frozen=True, slots=True)
class Outcome:
    """adopted: it was there already, with the config that it has."""

    running: Running
    adopted: bool = False


async def load(link: Link, order: Order, progress: Progress) -> Outcome:
    """Load, or take what holds the identifier if it is the same model (F-022). progress never falls.

    LoadFailed, ModelNotFound, InstanceConflict with LM Studio's own words; Unreachable; Refused. When cancelled, LM
    Studio is told, and what it has loaded by then is unloaded.
    """
    channel = await link.channel(order.namespace, "loadModel", order.parameter())
    try:
        return Outcome(await with_config(link, await _follow(channel, order, progress)))
    except Rejected as error:
        return Outcome(await _adopt(link, order, error.data), adopted=True)
    except asyncio.CancelledError:
        await asyncio.shield(link.keep(_undo(link, channel, order)))
        raise
    finally:
        channel.close()


async def _follow(channel: Channel, order: Order, progress: Progress) -> Running:
    most = 0.0
    while (message := await channel.next(SILENCE_SECONDS)) is not None:
        match message.get("type"):
            case "resolved":
                progress("resolved", None)
            case "progress" | "loadProgress":
                most = max(most, _fraction(message.get("progress")))
                progress("loading", most)
            case "success" | "loadSuccess":
                said = message.get("info")
                known = instance(said, embedding=order.embedding) if isinstance(said, dict) else None
                return known or Running(order.identifier, order.model, order.embedding)
    raise LoadFailed(f"LM Studio ended the load of {order.model} without a result.")


async def _adopt(link: Link, order: Order, error: ErrorData) -> Running:
    """The instance that is there already, if the error says so and it is of this model. Else the error, as ours."""
    if error.about_absence:
        raise ModelNotFound(f"LM Studio: {error.text}", param="modelKey", hint=error.suggestion or None, retry=False)
    if not error.about_presence:
        raise LoadFailed(f"LM Studio: {error.text}", hint=error.suggestion or None)
    there = loaded(await link.call(order.namespace, "listLoaded"), embedding=order.embedding)
    found = next((each for each in there if each.identifier == order.identifier and each.model == order.model), None)
    if found is None:
        raise InstanceConflict(f"LM Studio: {error.text}", param="instanceId", hint="choose another instanceId")
    return await with_config(link, found)


async def with_config(link: Link, running: Running) -> Running:
    """The same, with the load config that LM Studio tells; as it is where it tells none that can be read."""
    namespace = "embedding" if running.embedding else "llm"
    specifier = {"specifier": {"type": "query", "query": {"identifier": running.identifier}}}
    try:
        config = await link.call(namespace, "getLoadConfig", specifier)
        known, _ = from_stack({"layers": [{"config": config}]}, embedding=running.embedding)
    except (Unreachable, Rejected, Refused, GatewayError):
        return running
    return replace(running, config=running.config.over(known))  # what the instance itself says is surer


async def _undo(link: Link, channel: Channel, order: Order) -> None:
    """Stop the load, and unload what it had loaded. Nobody waits for it longer than UNDO_SECONDS."""
    with suppress(TimeoutError, Unreachable, Rejected, Refused):
        async with asyncio.timeout(UNDO_SECONDS):
            if not await _stopped(channel):
                return
            there = loaded(await link.call(order.namespace, "listLoaded"), embedding=order.embedding)
            if any(each.identifier == order.identifier for each in there):
                unwanted = {"identifier": order.identifier}
                await link.call(order.namespace, "unloadModel", unwanted, seconds=UNDO_SECONDS)


async def _stopped(channel: Channel) -> bool:
    """Tell LM Studio, and wait until it has ended the channel. False if what has the identifier is not ours."""
    try:
        await channel.cancel()
        while await channel.next(UNDO_SECONDS) is not None:
            pass
    except Rejected as error:
        return not error.data.about_presence
    return True


def _fraction(value: Any) -> float:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
    return min(float(value), 1.0) if usable else 0.0
