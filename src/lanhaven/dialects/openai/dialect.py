"""The OpenAI dialect: chat, completions, embeddings, rerank, models.

Upstreams speak OpenAI, so their bytes pass untouched: whole SSE frames, whole JSON bodies. What is done here is reading
the request, the error envelope, and the two replies that llama.cpp words in its own way (replies.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from lanhaven.dialects.anthropic import models as anthropic_models
from lanhaven.dialects.base import SSE, Call, Dialect, DialectContext, Handler, respond
from lanhaven.dialects.openai.errors import error_body
from lanhaven.dialects.openai.fields import (
    check_documents,
    check_fields,
    check_input,
    check_messages,
    check_prompt,
    take_load,
    take_sizing,
)
from lanhaven.dialects.openai.models import listed, model_card
from lanhaven.dialects.openai.multipart import Form, body_of
from lanhaven.dialects.openai.passing import PATHS, read_passed, relay_whole
from lanhaven.dialects.openai.replies import Embeddings, has_legacy_logprobs, legacy_logprobs
from lanhaven.dialects.openai.rerank import Rerank
from lanhaven.dialects.openai.tools import relay_offer
from lanhaven.dialects.tools.offering import Offer
from lanhaven.dialects.tools.settling import settle
from lanhaven.errors import GatewayError, InternalError, UnsupportedFeature
from lanhaven.gateway import Gateway
from lanhaven.inference import Inference
from lanhaven.types.chat import InferenceRequest, Route
from lanhaven.upstream.exchange import Exchange
from lanhaven.upstream.via import tellable
from lanhaven.wire import KEEP_ALIVE, encode, frames_of, read_strict, sse

MULTIPART = "/chat/completions/multipart"


class OpenAIDialect(Dialect):
    """Routes under /v1 and, the same, without it (S1-06)."""

    name = "openai"
    stream_headers = SSE
    keep_alive = KEEP_ALIVE
    uploads = frozenset({MULTIPART, f"/v1{MULTIPART}"})

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @classmethod
    def create(cls, context: DialectContext) -> OpenAIDialect:
        """For the registry."""
        return cls(context.gateway)

    def routes(self) -> Mapping[str, Mapping[str, Handler]]:
        """Path -> method -> handler. A path that ends in "/" takes the rest as a model name."""
        table: dict[str, Mapping[str, Handler]] = {
            "/chat/completions": {"POST": partial(self._infer, Route.CHAT, check_messages)},
            MULTIPART: {"POST": self._multipart},
            "/completions": {"POST": partial(self._infer, Route.COMPLETION, check_prompt)},
            "/embeddings": {"POST": self._embed},
            "/rerank": {"POST": partial(self._rerank, False)},
            "/reranking": {"POST": partial(self._rerank, False)},
            "/models": {"GET": self._models, "HEAD": self._models},
            "/models/": {"GET": self._model, "HEAD": self._model},
        }
        table |= {path: {"POST": partial(self._pass, route)} for path, route in PATHS.items()}
        named = {prefix + path: methods for path, methods in table.items() for prefix in ("/v1", "")}
        return named | {"/v2/rerank": {"POST": partial(self._rerank, True)}}

    def _infer(self, route: Route, check: Callable[[dict[str, Any]], None], call: Call) -> Awaitable[None]:
        return self._answer(route, check, read_strict(call.body), call)

    async def _multipart(self, call: Call) -> None:
        if call.pieces is None:
            raise InternalError("The form was read by somebody else.")
        form = Form(call.headers)
        body = body_of(await form.read(call.pieces(self._gateway.images.limits.most_request)))
        await self._answer(Route.CHAT, check_messages, body, call)

    async def _answer(
        self, route: Route, check: Callable[[dict[str, Any]], None], body: dict[str, Any], call: Call
    ) -> None:
        check_fields(body)
        check(body)
        if route is Route.CHAT:
            offer, notes = settle(self._gateway, body)
            if notes:
                call.extra = [*call.extra, *notes]
            if offer is not None:
                await self._infer_with_tools(offer, body, call)
                return
        convert = has_legacy_logprobs(route, body)
        relay = relay_converted if convert else relay_bytes
        await respond(call, self._gateway, self._request(route, body, call), relay)

    async def _infer_with_tools(self, offer: Offer, body: dict[str, Any], call: Call) -> None:
        """Most templates know tools, and the bytes pass; the others are told in words, and the answer is read back."""
        options = body.get("stream_options") or {}
        relay = partial(relay_offer, offer, options.get("include_usage") is True)
        await respond(call, self._gateway, self._request(Route.CHAT, body, call), relay)

    async def _embed(self, call: Call) -> None:
        body = read_strict(call.body)
        check_fields(body)
        check_input(body)
        relay = partial(relay_embeddings, Embeddings.take(body))
        await respond(call, self._gateway, self._request(Route.EMBEDDING, body, call), relay)

    async def _rerank(self, cohere: bool, call: Call) -> None:
        body = read_strict(call.body)
        check_fields(body)
        check_documents(body)
        relay = partial(relay_ranks, Rerank.take(body, cohere=cohere))
        await respond(call, self._gateway, self._request(Route.RERANK, body, call), relay)

    def _request(self, route: Route, body: dict[str, Any], call: Call) -> InferenceRequest:
        request = call.inference(route, body)
        if "ttl" in body:
            request.load = take_load(body)
        request.sizing = take_sizing(body)
        return request

    async def _models(self, call: Call) -> None:
        if anthropic_models.is_asked(call.headers):
            await call.reply(
                200, encode(anthropic_models.page(anthropic_models.cards(self._gateway, call.key_name), call.query))
            )
            return
        models = tellable(self._gateway.models(call.key_name), call.headers)
        cards = [model_card(each, self._gateway) for each in models]
        loaded = [
            model_card(info, self._gateway, instance_id)
            for instance_id, info in self._gateway.named_instances(call.key_name)
            if instance_id != info.key
        ]
        await call.reply(200, encode(listed(cards + loaded, call.query)))

    async def _model(self, call: Call) -> None:
        name = call.path.split("/models/", 1)[1]
        if anthropic_models.is_asked(call.headers):
            info = self._gateway.model(anthropic_models.meant(self._gateway, name), call.key_name)
            await call.reply(200, encode(anthropic_models.card(self._gateway, info, name)))
            return
        info = self._gateway.model(name, call.key_name)
        await call.reply(200, encode(model_card(info, self._gateway, name)))

    async def _pass(self, route: Route, call: Call) -> None:
        if not any(route.capability in each.capabilities for each in self._gateway.catalog.models()):
            raise UnsupportedFeature(
                f"No provider that is configured here serves {call.path}.", retry=False, hint="GET /v1/capabilities"
            )
        body, form = read_passed(route, call)
        request = call.inference(route, body)
        request.form = form
        await respond(call, self._gateway, request, relay_whole, streamed=False)

    def error_body(self, error: GatewayError, request_id: str) -> bytes:
        """OpenAI's envelope."""
        return error_body(error)

    def error_frame(self, error: GatewayError, request_id: str) -> bytes:
        """An error frame; openai clients raise on it. No [DONE] follows."""
        return sse(error_body(error))


async def relay_bytes(call: Call, inference: Inference, exchange: Exchange) -> None:
    """Copy the upstream's reply: a stream block by block as it comes, anything else whole and checked."""
    if not inference.request.stream:
        await call.reply(200, await exchange.body())
        return
    call.expect_stream()
    block = await exchange.more()
    await call.start()
    while block:
        await call.write(block)
        block = await exchange.more()
    await call.finish()


async def relay_converted(call: Call, inference: Inference, exchange: Exchange) -> None:
    """Like `relay_bytes`, with logprobs of text completions turned into OpenAI's form."""
    if not inference.request.stream:
        await call.reply(200, legacy_logprobs(await exchange.body()))
        return
    call.expect_stream()
    block = await exchange.more()
    await call.start()
    while block:
        await call.write(b"".join(legacy_logprobs(frame, frame=True) for frame in frames_of(block)))
        block = await exchange.more()
    await call.finish()


async def relay_embeddings(shape: Embeddings, call: Call, inference: Inference, exchange: Exchange) -> None:
    """Embeddings in the form and with the dimensions that were asked for."""
    await call.reply(200, shape.apply(await exchange.body()))


async def relay_ranks(rerank: Rerank, call: Call, inference: Inference, exchange: Exchange) -> None:
    """The best documents first."""
    await call.reply(200, rerank.apply(await exchange.body(), logits=exchange.upstream.logits))
