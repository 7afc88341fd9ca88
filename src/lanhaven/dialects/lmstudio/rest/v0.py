"""LM Studio's first REST API, /api/v0: OpenAI's requests and replies, with how long it took and by which model.

The figures stand in whole replies, and in the last chunk of a stream.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from lanhaven import __version__
from lanhaven.dialects.base import SSE, Call, Dialect, DialectContext, Handler, respond
from lanhaven.dialects.chunks import Chunk, read_chunk
from lanhaven.dialects.lmstudio.models import facts_of
from lanhaven.dialects.lmstudio.rest.models import UNKNOWN, aim, named, v0_card, v0_format, v0_list
from lanhaven.dialects.lmstudio.rest.stats import Measure
from lanhaven.dialects.openai.errors import error_body
from lanhaven.dialects.openai.fields import check_fields, check_input, check_messages, check_prompt, take_load
from lanhaven.dialects.openai.replies import Embeddings, has_legacy_logprobs, legacy_logprobs
from lanhaven.dialects.openai.tools import frames, whole
from lanhaven.dialects.tools.offering import Offer
from lanhaven.dialects.tools.settling import settle
from lanhaven.errors import GatewayError
from lanhaven.inference import Inference
from lanhaven.types.chat import InferenceRequest, Route
from lanhaven.types.models import ModelInfo
from lanhaven.upstream.exchange import Exchange
from lanhaven.upstream.reading import loads
from lanhaven.wire import DONE, KEEP_ALIVE, data_of, encode, frames_of, read_strict, sse

ROOT = "/api/v0"


class LMStudioV0(Dialect):
    """Routes under /api/v0."""

    name = "lmstudio"
    stream_headers = SSE
    keep_alive = KEEP_ALIVE

    def __init__(self, context: DialectContext) -> None:
        self._gateway = context.gateway

    @classmethod
    def create(cls, context: DialectContext) -> LMStudioV0:
        """For the registry."""
        return cls(context)

    def routes(self) -> Mapping[str, Mapping[str, Handler]]:
        """Path -> method -> handler."""
        return {
            f"{ROOT}/models": {"GET": self._models, "HEAD": self._models},
            f"{ROOT}/models/": {"GET": self._model, "HEAD": self._model},
            f"{ROOT}/chat/completions": {"POST": partial(self._generate, Route.CHAT, check_messages)},
            f"{ROOT}/completions": {"POST": partial(self._generate, Route.COMPLETION, check_prompt)},
            f"{ROOT}/embeddings": {"POST": self._embed},
        }

    def error_body(self, error: GatewayError, request_id: str) -> bytes:
        """OpenAI's envelope."""
        return error_body(error)

    def error_frame(self, error: GatewayError, request_id: str) -> bytes:
        """As OpenAI's."""
        return sse(error_body(error))

    async def _models(self, call: Call) -> None:
        await call.reply(200, encode(v0_list(self._gateway, call.key_name, call.headers)))

    async def _model(self, call: Call) -> None:
        info, instance_id = named(self._gateway, call.path.removeprefix(f"{ROOT}/models/"), call.key_name)
        instance = self._gateway.pool.get(instance_id) if instance_id is not None else None
        await call.reply(200, encode(v0_card(info, self._gateway, instance)))

    async def _generate(self, route: Route, check: Callable[[dict[str, Any]], None], call: Call) -> None:
        body = read_strict(call.body)
        check_fields(body)
        check(body)
        answer = V0Answer(
            model=aim(self._gateway, body, call.key_name),
            convert=has_legacy_logprobs(route, body),
            usage_wanted=_wants_usage(body),
        )
        offer = None
        if route is Route.CHAT:
            offer, notes = settle(self._gateway, body)
            call.extra = notes
        request = self._request(route, body, call)
        request.usage_wanted = True  # the engine's timings come with it
        if body.get("stop"):
            request.extras = {"verbose": True}  # only so does llama.cpp tell a stop string from the end
        await respond(call, self._gateway, request, partial(self._relay, answer, offer))

    async def _embed(self, call: Call) -> None:
        body = read_strict(call.body)
        check_fields(body)
        check_input(body)
        shape = Embeddings.take(body)
        model = aim(self._gateway, body, call.key_name)
        relay = partial(_relay_embeddings, model, shape)
        await respond(call, self._gateway, self._request(Route.EMBEDDING, body, call), relay)

    def _request(self, route: Route, body: dict[str, Any], call: Call) -> InferenceRequest:
        request = call.inference(route, body)
        request.load = take_load(body)
        return request

    async def _relay(
        self, answer: V0Answer, offer: Offer | None, call: Call, inference: Inference, exchange: Exchange
    ) -> None:
        measure = Measure(self._gateway, inference)
        if not inference.request.stream:
            data = await (exchange.body() if offer is None else whole(offer, inference, exchange))
            await call.reply(200, answer.whole(data, measure))
            return
        async for block in _blocks(exchange) if offer is None else frames(offer, True, inference, exchange):
            await call.start()
            await call.write(b"".join(answer.frame(each, measure) for each in frames_of(block)))
        await call.finish()


async def _blocks(exchange: Exchange) -> AsyncIterator[bytes]:
    while block := await exchange.more():
        yield block


@dataclass(slots=True)
class V0Answer:
    """Adds the figures to one answer. convert: llama.cpp's logprobs become OpenAI's. usage_wanted: by the client."""

    model: ModelInfo
    convert: bool
    usage_wanted: bool
    _held: list[dict[str, Any]] = field(default_factory=list)  # chunks one of which may be the last

    def whole(self, data: bytes, measure: Measure) -> bytes:
        """A reply that did not stream."""
        reply = loads(legacy_logprobs(data) if self.convert else data)
        if not isinstance(reply, dict):
            return data  # JSON that only lenient readers take; there is nowhere to put figures
        measure.note_whole(reply)
        reply.pop("__verbose", None)
        return encode(reply | self._figures(measure))

    def frame(self, frame: bytes, measure: Measure) -> bytes:
        """A frame of a stream. What ends the answer is held back until it is known which chunk is the last."""
        data = data_of(frame)
        if data is None:
            return frame
        if data.strip().startswith(b"[DONE]"):
            return self._last(measure) + DONE
        chunk = read_chunk(data)
        measure.note(chunk)
        if self.convert:
            frame = legacy_logprobs(frame, frame=True)
        value = loads(data_of(frame) or b"") if _may_be_last(chunk) or chunk.verbose is not None else None
        if not isinstance(value, dict):
            return self._flush() + frame
        value.pop("__verbose", None)
        if not _may_be_last(chunk):
            return self._flush() + sse(encode(value))
        if chunk.choices or self.usage_wanted:
            self._held.append(value)
        return b""

    def _flush(self) -> bytes:
        held, self._held = self._held, []
        return b"".join(sse(encode(each)) for each in held)

    def _last(self, measure: Measure) -> bytes:
        if self._held:
            self._held[-1] |= self._figures(measure)
        return self._flush()

    def _figures(self, measure: Measure) -> dict[str, Any]:
        stats: dict[str, Any] = {
            "tokens_per_second": round(measure.tokens_per_second, 3),
            "generation_time": round(measure.generation_seconds, 4),
            "stop_reason": measure.stop_reason,
        }
        first = measure.first_token_seconds
        if first is not None:
            stats["time_to_first_token"] = round(first, 4)
        return {"stats": stats, **model_figures(self.model, measure.inference)}


def model_figures(model: ModelInfo, inference: Inference) -> dict[str, Any]:
    """By which model, and on what."""
    facts = facts_of(model)
    return {
        "model_info": {
            "arch": facts.architecture or UNKNOWN,
            "quant": facts.quantization or UNKNOWN,
            "format": v0_format(facts),
            "context_length": inference.context_length or facts.max_context,
        },
        "runtime": {
            "name": f"lanhaven-{model.provider}",
            "version": __version__,
            "supported_formats": [v0_format(facts)],
        },
    }


async def _relay_embeddings(
    model: ModelInfo, shape: Embeddings, call: Call, inference: Inference, exchange: Exchange
) -> None:
    data = await exchange.body()
    reply = loads(shape.apply(data))
    figures = model_figures(model, inference)
    await call.reply(200, encode(reply | figures) if isinstance(reply, dict) else data)


def _may_be_last(chunk: Chunk) -> bool:
    return not chunk.choices or any(choice.finish_reason for choice in chunk.choices)


def _wants_usage(body: dict[str, Any]) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True
