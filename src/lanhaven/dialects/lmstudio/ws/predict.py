"""`predict` and `completeRawText`: one prediction of one loaded instance, which is never replaced by another.

A client that cancels gets its `success` as well, with the stop reason userStopped; upstream and instance are free by
then. Anything else that goes wrong is an error of the channel.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from lanhaven.dialects.lmstudio.errors import no_preset, unloaded
from lanhaven.dialects.lmstudio.models import LLM, context_length, find_instance, instance_info
from lanhaven.dialects.lmstudio.ws.attention import HEARTBEAT, attended
from lanhaven.dialects.lmstudio.ws.endpoint import Channel, ChannelHandler, Peer
from lanhaven.dialects.lmstudio.ws.fields import table
from lanhaven.dialects.lmstudio.ws.files import Uploads
from lanhaven.dialects.lmstudio.ws.models import sampling_fields
from lanhaven.dialects.lmstudio.ws.packets import Packet, Packets, stop_reason
from lanhaven.dialects.lmstudio.ws.prediction import Prediction, read_completion, read_prediction
from lanhaven.dialects.tools.offering import Offer, make_offer
from lanhaven.dialects.tools.reading import read
from lanhaven.errors import InvalidRequest, ModelUnloaded, UnsupportedFeature
from lanhaven.gateway import Gateway
from lanhaven.inference import Inference
from lanhaven.lmstudio.load_keys import config_fields
from lanhaven.types.chat import InferenceRequest, Route, Usage
from lanhaven.types.models import Instance, ModelInfo
from lanhaven.wire import encode, ndjson


@dataclass(slots=True)
class _Answer:
    """One prediction while it runs, and what its `success` tells."""

    peer: Peer
    channel: Channel
    info: ModelInfo
    instance: Instance
    prediction: Prediction
    packets: Packets
    accepted: float
    offer: Offer | None = None
    first: float | None = None  # when the first token came
    last: float = 0.0  # when anything was sent
    finish: str | None = None
    usage: Usage = field(default_factory=Usage)
    limit: int | None = None  # tokens that the answer may have
    tapped: Callable[[bytes], Awaitable[None]] | None = None  # see Peer.tapped

    @property
    def gateway(self) -> Gateway:
        return self.peer.context.gateway

    async def send(self, packet: Packet) -> None:
        """Send a packet and remember when."""
        self.last = self.gateway.clock()
        if self.first is None and packet["type"] in ("fragment", "toolCallGenerationStart"):
            self.first = self.last
        if self.tapped is not None:
            await self.tapped(ndjson(encode(packet)))
        await self.channel.send(packet)

    async def run(self) -> None:
        """From the request to the end of the answer."""
        request = self._request()
        self.tapped = self.peer.tapped(request)
        async with self.gateway.infer(request) as inference:
            await self._relay(inference)
        self.usage, self.finish = inference.outcome.usage, inference.outcome.finish_reason
        limit = request.body.get("max_tokens")
        self.limit = limit if isinstance(limit, int) else None

    async def _relay(self, inference: Inference) -> None:
        exchange = await inference.open()
        if exchange.status >= 400:
            raise await exchange.error()
        missing = self.prediction.settings.needed - exchange.upstream.extras
        if missing:
            raise UnsupportedFeature(
                f"The engine of {self.info.key} does not take {', '.join(sorted(missing))}.",
                hint="structured answers with a JSON schema are possible in a chat",
                retry=False,
            )
        async for chunk in read(self.offer, inference, exchange):
            for packet in self.packets.read(chunk):
                await self.send(packet)
        for packet in self.packets.end():
            await self.send(packet)

    def _request(self) -> InferenceRequest:
        prediction = self.prediction
        request = self.peer.inference(prediction.route, prediction.body, self.instance)
        request.usage_wanted = True
        request.extras = {**prediction.settings.extras, "return_progress": True}
        request.overflow = prediction.settings.overflow
        return request

    async def beat(self) -> None:
        """Fill silences."""
        if self.gateway.clock() - self.last >= HEARTBEAT:
            await self.send(self.packets.still_there())

    def success(self, *, stopped: bool) -> Packet:
        """The last packet."""
        instance = self.gateway.pool.get(self.instance.instance_id) or self.instance
        config = replace(instance.load_config, context_length=context_length(self.info, instance))
        return {
            "type": "success",
            "stats": self._stats(instance, stopped=stopped),
            "modelInfo": instance_info(self.info, instance),
            "loadModelConfig": {"fields": config_fields(config, embedding=False)},
            "predictionConfig": _with_defaults(self.prediction.config, sampling_fields(instance.sampling)),
        }

    def _stats(self, instance: Instance, *, stopped: bool) -> dict[str, Any]:
        now = self.gateway.clock()
        predicted = self.usage.completion_tokens or self.packets.fragments
        prompt = self.usage.prompt_tokens or self.packets.prompt_tokens
        stats: dict[str, Any] = {
            "promptTokensCount": prompt,
            "predictedTokensCount": predicted,
            "totalTokensCount": prompt + predicted,
            "totalTimeSec": now - self.accepted,
        }
        if self.first is not None:
            stats["timeToFirstTokenSec"] = self.first - self.accepted
            speed = self.packets.timings.get("predicted_per_second")
            stats["tokensPerSecond"] = speed if isinstance(speed, float) else predicted / max(now - self.first, 1e-3)
        if instance.load_config.gpu_layers is not None:
            stats["numGpuLayers"] = instance.load_config.gpu_layers
        if stopped:
            return {"stopReason": "userStopped", **stats}
        return {**stop_reason(self.packets, self.finish, self.usage, self.limit), **stats}


async def predict(peer: Peer, channel: Channel, parameter: Any) -> None:
    """A chat, or a raw completion in the way of the older clients."""
    peer.need("inference")
    asked = table(parameter)
    info, instance = find_instance(peer.context.gateway, asked.get("modelSpecifier"), LLM, peer.key_name)
    _check_preset(asked)
    prediction = read_prediction(asked, lambda identifier: _image(peer, info, identifier))
    await _answered(peer, channel, info, instance, prediction)


async def complete_raw_text(peer: Peer, channel: Channel, parameter: Any) -> None:
    """A raw completion in the way of the newer clients."""
    peer.need("inference")
    asked = table(parameter)
    info, instance = find_instance(peer.context.gateway, asked.get("modelSpecifier"), LLM, peer.key_name)
    _check_preset(asked)
    await _answered(peer, channel, info, instance, read_completion(asked))


def _check_preset(asked: Mapping[str, Any]) -> None:
    preset = asked.get("fuzzyPresetIdentifier")
    if preset is not None:
        raise no_preset(str(preset))


def _image(peer: Peer, info: ModelInfo, identifier: str) -> str:
    if info.blind:
        raise InvalidRequest(f"Model {info.key} cannot see images.", retry=False)
    return peer.state.of(Uploads).image(peer.client, identifier)


async def _answered(peer: Peer, channel: Channel, info: ModelInfo, instance: Instance, prediction: Prediction) -> None:
    offer = None
    if prediction.route is Route.CHAT:
        if "tools" in prediction.body and "grammar" in prediction.settings.extras:
            raise InvalidRequest("This model takes tools or a grammar, not both at once.", retry=False)
        offer = make_offer(prediction.body, info)
    now = peer.context.gateway.clock()
    packets = Packets(prediction.settings.tags)
    answer = _Answer(peer, channel, info, instance, prediction, packets, accepted=now, offer=offer, last=now)
    try:
        async with attended(channel, answer.beat) as attention:
            await answer.run()
    except ModelUnloaded as error:
        raise unloaded() from error
    await channel.send(answer.success(stopped=attention.expired()))


def _with_defaults(config: dict[str, Any], defaults: list[dict[str, Any]]) -> dict[str, Any]:
    """What the prediction was made with: what was said, and the instance's own where nothing was."""
    said = {each["key"] for each in config["fields"]}
    return {"fields": [*(each for each in defaults if each["key"] not in said), *config["fields"]]}


CHANNELS: Mapping[str, ChannelHandler] = MappingProxyType({"predict": predict, "completeRawText": complete_raw_text})
