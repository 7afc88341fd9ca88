"""`diagnostics.streamLogs`: what `lms log stream` shows, of every dialect's requests.

Texts never leave by this way, as they never stand in LanHaven's log: an entry of a prediction has the counts and times
that the app gives too, and no input or output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from lanhaven.dialects.lmstudio.models import domain_of, facts_of
from lanhaven.dialects.lmstudio.ws.attention import attended
from lanhaven.dialects.lmstudio.ws.endpoint import DEBUG, Channel, ChannelHandler, Peer
from lanhaven.events import (
    Failure,
    GatewayEvent,
    InferenceComplete,
    InferenceStart,
    ModelLoadComplete,
    ModelUnloadComplete,
)
from lanhaven.gateway import Gateway

PULSE = 3600.0  # seconds; an event wakes it earlier
QUIET = "(LanHaven keeps no texts)"
_REASONS = MappingProxyType({"length": "maxPredictedTokensReached", "tool_calls": "toolCalls"})


async def stream_logs(peer: Peer, channel: Channel, parameter: Any) -> None:
    """{"type": "log", "log": {timestamp, data}} for each event, until the client says {"type": "stop"}."""
    peer.need(DEBUG)
    gateway = peer.context.gateway

    async def nothing() -> None:
        """Clients know that a log may be silent."""

    with gateway.bus.subscribe() as subscription:
        async with attended(channel, nothing):
            while True:
                event = await subscription.get(PULSE)
                if event is None:
                    continue
                gateway.admission.recognise(peer.key_name)  # whose key is gone sees no more, nor whose scope is
                peer.need(DEBUG)
                dropped = subscription.take_dropped()
                if dropped:
                    await channel.send(
                        _log(event, _line(f"{dropped} entries were left out: they came too fast", "warn"))
                    )
                for data in entries(event, gateway):
                    await channel.send(_log(event, data))


def entries(event: GatewayEvent, gateway: Gateway) -> Iterator[dict[str, Any]]:
    """What the log says of an event; nothing for those that are no news to a reader of logs."""
    match event:
        case InferenceStart():
            model = f" for {event.model}" if event.model else ""
            yield _line(f"{event.request_id}: {event.method} {event.path}{model}", "info")
        case InferenceComplete():
            yield _line(f"{event.request_id}: 200 from {event.instance_id} in {event.seconds:.3f} s", "info")
            yield from _prediction(event, gateway)
        case Failure():
            subject = event.request_id or event.instance_id or event.model_key or event.operation
            yield _line(
                f"{subject}: {event.status} {event.code}: {event.error}", "warn" if event.cancelled else "error"
            )
        case ModelLoadComplete():
            yield _line(f"{event.instance_id}: loaded in {event.seconds:.3f} s", "info")
        case ModelUnloadComplete():
            yield _line(f"{event.instance_id}: unloaded ({event.reason})", "info")


def _prediction(event: InferenceComplete, gateway: Gateway) -> Iterator[dict[str, Any]]:
    """The two entries of a prediction, once it has ended: only then is it known which instance made it."""
    info = gateway.catalog.get(event.model_key)
    if info is None or domain_of(info.kind) != "llm":
        return
    yield {
        "type": "llm.prediction.input",
        "modelPath": facts_of(info).path,
        "modelIdentifier": event.instance_id,
        "input": QUIET,
    }
    answering = max(event.seconds - event.first_byte_seconds, 1e-3)
    yield {
        "type": "llm.prediction.output",
        "modelIdentifier": event.instance_id,
        "output": QUIET,
        "stats": {
            "stopReason": _REASONS.get(event.finish_reason or "", "eosFound"),
            "tokensPerSecond": event.usage.completion_tokens / answering,
            "timeToFirstTokenSec": event.first_byte_seconds,
            "totalTimeSec": event.seconds,
            "promptTokensCount": event.usage.prompt_tokens,
            "predictedTokensCount": event.usage.completion_tokens,
            "totalTokensCount": event.usage.total_tokens,
        },
    }


def _line(content: str, level: str) -> dict[str, Any]:
    return {"type": "server.log", "content": content, "level": level}


def _log(event: GatewayEvent, data: dict[str, Any]) -> dict[str, Any]:
    return {"type": "log", "log": {"timestamp": event.at // 1_000_000, "data": data}}


CHANNELS: Mapping[str, ChannelHandler] = MappingProxyType({"streamLogs": stream_logs})
