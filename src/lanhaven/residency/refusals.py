"""The words of the pool's refusals: each says what happened, with figures, and what to do next."""

from __future__ import annotations

import copy
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING

from lanhaven.errors import (
    CapacityError,
    GatewayError,
    InstanceConflict,
    InsufficientMemory,
    ModelNotFound,
    ModelUnloaded,
    Overloaded,
    ProviderUnavailable,
    QueueFull,
    QueueTimeout,
    ServerShutdown,
    UpstreamError,
)
from lanhaven.residency.policy import Refuse

if TYPE_CHECKING:
    from lanhaven.residency.resident import Resident


def fresh(error: GatewayError) -> GatewayError:
    """The same error as an object of its own: an exception that is raised twice mixes up its tracebacks."""
    return copy.copy(error)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def no_room(model_key: str, refusal: Refuse, context: int | None = None) -> CapacityError:
    """Memory, or places all held by pinned instances. context: the longest that would fit, where one does."""
    if refusal.places:
        names = f" ({', '.join(refusal.kept)})" if refusal.kept else ""
        return Overloaded(
            f"Model {model_key} cannot be loaded for a request: pinned instances hold every place{names}",
            hint="unpin one of them, raise max_loaded_models, or load the model by hand",
            facts={"pinned": list(refusal.kept)},
        )
    available, evictable = refusal.available_bytes, refusal.evictable_bytes
    kept = f"; kept in memory: {', '.join(refusal.kept)}" if refusal.kept else ""
    ways = [f"unload {refusal.kept[0]}"] if refusal.kept else []
    ways += [f"load it with a shorter context: lanhaven load {model_key} --context {context}"] if context else []
    ways += ["take a smaller model or quantization"]
    return InsufficientMemory(
        f"Model {model_key} needs {_size(refusal.needed_bytes)}; {_size(available)} are free and {_size(evictable)} "
        f"can be freed, which is {_size(refusal.needed_bytes - available - evictable)} too little{kept}",
        hint=f"{', or '.join(ways)} (--force skips this check)",
        retry=False,
        facts={
            "needed_bytes": refusal.needed_bytes,
            "available_bytes": available,
            "evictable_bytes": evictable,
            "largest_context": context,
            "kept": list(refusal.kept),
        },
    )


def discreet(
    error: CapacityError, model_key: str, instances: Mapping[str, str], known: Container[str]
) -> CapacityError:
    """A refusal for somebody who may know of the models `known` only: one of `no_room` names no instance then, if it
    names one of another model. instances: identifier -> key of its model."""
    named = error.facts.get("pinned") or error.facts.get("kept")
    if not isinstance(named, list) or all(instances.get(each, model_key) in known for each in named):
        return error

    def figure(name: str) -> int:
        value = error.facts.get(name)
        return value if isinstance(value, int) else 0

    needed, available, evictable = (figure(f"{name}_bytes") for name in ("needed", "available", "evictable"))
    refusal = Refuse(needed, available, evictable, kept=(), places="pinned" in error.facts)
    return no_room(model_key, refusal, figure("largest_context") or None)


def queue_full(model_key: str, waiting: int, retry_after: float) -> QueueFull:
    return QueueFull(
        f"{waiting} requests wait for model {model_key} already",
        hint="send fewer requests at once, or raise queue_depth",
        retry_after=retry_after,
        facts={"waiting": waiting},
    )


def queue_timeout(model_key: str, waited: float, awaited: str, retry_after: float) -> QueueTimeout:
    """awaited: "room", "the load", "a slot", "the unload"."""
    return QueueTimeout(
        f"Model {model_key} could not take the request within {waited:.1f} s: it waited for {awaited}",
        hint="try again, or allow a longer wait",
        retry_after=retry_after,
        facts={"waited_seconds": waited, "waited_for": awaited},
    )


def unloaded(instance_id: str) -> ModelUnloaded:
    return ModelUnloaded(f"Instance {instance_id} was unloaded by an operator", retry_after=1.0)


def failing(instance_id: str, failures: int, last: GatewayError) -> UpstreamError:
    return UpstreamError(
        f"The engine of {instance_id} failed {failures} different requests in a row and is replaced. The last failure: "
        f"{last.message}",
        hint="read its log: it may be short of memory, or its device in trouble",
        facts={"failures": failures},
    )


def gone(instance_id: str) -> ModelUnloaded:
    return ModelUnloaded(f"Instance {instance_id} was unloaded outside of LanHaven", retry_after=1.0)


def shutdown() -> ServerShutdown:
    return ServerShutdown("The server is shutting down", retry_after=5.0)


def resting(model_key: str, group: Sequence[Resident], now: float) -> ProviderUnavailable:
    """All that could serve are left alone for a while."""
    breakers = {each.instance_id: each.breaker for each in group if each.breaker is not None}
    why = "; ".join(f"{name}: {breaker.last.rstrip('.')}" for name, breaker in breakers.items())
    soonest = min((breaker.seconds_left(now) for breaker in breakers.values()), default=0.0)
    return ProviderUnavailable(
        f"Model {model_key} has no server that takes requests now. {why}.",
        hint="see that one of them runs and is not overloaded; they are tried again by themselves",
        retry_after=min(60.0, max(1.0, soonest)),
    )


def no_instance(instance_id: str) -> ModelNotFound:
    return ModelNotFound(f"No instance {instance_id} is loaded", param="model", hint="lanhaven ps lists the instances")


def conflict(model_key: str, instance_id: str) -> InstanceConflict:
    return InstanceConflict(
        f"Model already loaded: {model_key} (instance: {instance_id})",
        param="instanceId",
        hint="unload it first, or choose another instanceId",
        facts={"model_key": model_key, "instance_id": instance_id},
    )
