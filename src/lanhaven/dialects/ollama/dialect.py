"""The Ollama dialect: /api/..., as its own libraries and the many programs written for it speak it.

Streams are lines of JSON, and the default; a blank line would break clients. keep_alive concerns instances that
requests have loaded: what an operator loaded stays as the operator wants it. Those are everybody's: a key without the
scope admin says only how long stays what its own request loads, as with `ttl` in the OpenAI dialect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from lanhaven.context import both_numbers
from lanhaven.dialects.base import (
    Call,
    Dialect,
    DialectContext,
    Handler,
    Headers,
    overflow_asked,
    respond,
    tell_dropped,
)
from lanhaven.dialects.ollama.manage import Management
from lanhaven.dialects.ollama.models import LISTED, is_running, running, shown, tag
from lanhaven.dialects.ollama.replies import Lines, fold, frame
from lanhaven.dialects.ollama.request import Asked, are_texts, read_asked, read_chat, read_generate
from lanhaven.dialects.openai.replies import vectors
from lanhaven.dialects.tools.offering import Offer
from lanhaven.dialects.tools.reading import read_blocks
from lanhaven.dialects.tools.settling import settle
from lanhaven.errors import ContextLengthExceeded, Forbidden, GatewayError, InvalidRequest, ModelNotFound
from lanhaven.gateway import Gateway
from lanhaven.inference import Inference
from lanhaven.types.chat import InferenceRequest, Route
from lanhaven.types.models import Instance, LoadConfig, Overflow
from lanhaven.upstream.exchange import Exchange
from lanhaven.upstream.via import tellable
from lanhaven.wire import encode, ndjson, read_strict

VERSION = "0.32.3"  # of the Ollama whose API is followed: clients choose features by it
NDJSON: Headers = [(b"content-type", b"application/x-ndjson"), (b"x-accel-buffering", b"no")]
JSON_HEADERS: Headers = [(b"content-type", b"application/json; charset=utf-8")]
SOON = 0.001  # seconds of idleness
ADMIN = "admin"  # the scope of those who decide about everybody's models
BEAT = {"model": "", "created_at": "1970-01-01T00:00:00Z", "message": {"role": "assistant", "content": ""},
        "response": "", "done": False}  # fmt: skip


@dataclass(slots=True)
class Turn:
    """One question on its way."""

    asked: Asked
    offer: Offer | None = None  # of tools
    instance_id: str | None = None


class OllamaDialect(Dialect):
    """Routes under /api."""

    name = "ollama"
    stream_headers = NDJSON
    keep_alive = ndjson(encode(BEAT))

    def __init__(self, context: DialectContext) -> None:
        self._gateway: Gateway = context.gateway
        self._management = Management(context.gateway, context.downloads)

    @classmethod
    def create(cls, context: DialectContext) -> OllamaDialect:
        """For the registry."""
        return cls(context)

    def routes(self) -> Mapping[str, Mapping[str, Handler]]:
        """Path -> method -> handler."""
        reading = {
            "/api/version": self._version, "/api/tags": self._tags, "/api/ps": self._ps,
        }  # fmt: skip
        table: dict[str, Mapping[str, Handler]] = {path: {"GET": each, "HEAD": each} for path, each in reading.items()}
        return table | {
            "/api/chat": {"POST": self._chat},
            "/api/generate": {"POST": self._generate},
            "/api/embed": {"POST": self._embed},
            "/api/embeddings": {"POST": self._embeddings},
            "/api/show": {"POST": self._show},
            **self._management.routes(),
        }

    # ---- lists

    async def _version(self, call: Call) -> None:
        await call.reply(200, encode({"version": VERSION}))

    async def _tags(self, call: Call) -> None:
        models = tellable(self._gateway.models(call.key_name), call.headers)
        tags = [tag(each) for each in models if each.kind in LISTED and each.unavailable is None]
        await call.reply(200, encode({"models": tags}))

    async def _ps(self, call: Call) -> None:
        gateway = self._gateway
        loaded = [
            running(info, each, gateway.clock())
            for each in gateway.instances(call.key_name)
            if is_running(each) and (info := gateway.catalog.get(each.model_key)) is not None
        ]
        await call.reply(200, encode({"models": loaded}))

    async def _show(self, call: Call) -> None:
        asked = read_asked(read_strict(call.body), chat=False)
        await call.reply(200, encode(shown(self._gateway.model(asked.model, call.key_name))))

    # ---- answers

    async def _chat(self, call: Call) -> None:
        body, asked, extras = read_chat(read_strict(call.body))
        await self._answer(call, body, asked, extras)

    async def _generate(self, call: Call) -> None:
        body, asked, extras = read_generate(read_strict(call.body))
        await self._answer(call, body, asked, extras)

    async def _answer(self, call: Call, body: dict[str, Any] | None, asked: Asked, extras: dict[str, Any]) -> None:
        if body is None:
            await self._load_only(call, asked)
            return
        turn = Turn(asked)
        if "messages" in body:
            turn.offer, notes = settle(self._gateway, body)
            call.extra = [*call.extra, *notes]
        body["stream"] = asked.stream
        request = _request(call, Route.COMPLETION if "prompt" in body else Route.CHAT, body, asked)
        request.extras = extras or None
        request.overflow_else = Overflow.DROP_OLDEST  # as Ollama does, but it says so
        if asked.truncate is not None:
            request.overflow = Overflow.DROP_OLDEST if asked.truncate else Overflow.ERROR
        await self._fit(request, asked)
        await respond(call, self._gateway, request, partial(self._relay, turn), streamed=asked.stream)
        await self._keep(call, turn.instance_id, asked.keep_alive)

    async def _relay(self, turn: Turn, call: Call, inference: Inference, exchange: Exchange) -> None:
        turn.instance_id = inference.instance_id
        lines = Lines(turn.asked)
        if not turn.asked.stream:
            blocks = read_blocks(turn.offer, inference, exchange)
            told = [line async for block in blocks for chunk in block for line in lines.feed(chunk)]
            told += lines.end(exchange.outcome, inference.timing, self._gateway.clock())
            await call.reply(200, encode(fold(told)))
            return
        async for block in read_blocks(turn.offer, inference, exchange):
            if frames := b"".join(map(lines.frames, block)):
                await call.start()
                await call.write(frames)
        last = [*lines.end(exchange.outcome, inference.timing, self._gateway.clock())]
        await call.start()
        await call.write(b"".join(map(frame, last)))
        await call.finish()

    async def _load_only(self, call: Call, asked: Asked) -> None:
        """A request without a question: load the model, or let it go."""
        gateway, lines = self._gateway, Lines(asked)
        began = gateway.clock()
        if asked.keep_alive == 0:
            target = gateway.model(asked.model, call.key_name)
            loaded = self._instances(target.key)
            if loaded and not call.may(ADMIN):
                raise Forbidden("Unloading a model needs a key with the scope admin.", retry=False)
            for each in loaded:
                await self._keep(call, each.instance_id, 0)
            line = lines.loaded("unload", gateway.clock() - began)
        else:
            request = _request(call, Route.CHAT, {"model": asked.model}, asked)
            await self._fit(request, asked)
            instance_id = await gateway.warm(request)
            await self._keep(call, instance_id, asked.keep_alive)
            line = lines.loaded("load", gateway.clock() - began)
        data = encode(line)
        await call.reply(200, ndjson(data) if asked.stream else data, NDJSON if asked.stream else JSON_HEADERS)

    # ---- embeddings

    async def _embed(self, call: Call) -> None:
        body = read_strict(call.body)
        given = body.get("input")
        if not are_texts(given):
            raise InvalidRequest("input must be a text or a list of texts.", param="input", retry=False)
        vectors, inference = await self._vectors(call, body, given) if given else self._no_vectors(call, body)
        counts: dict[str, Any] = {}
        if inference is not None:
            timing = inference.timing
            leased = timing.leased or timing.accepted
            counts = {
                "total_duration": round((self._gateway.clock() - timing.accepted) * 1e9),
                "load_duration": round((leased - timing.accepted) * 1e9),
                "prompt_eval_count": inference.outcome.usage.prompt_tokens,
            }
        await call.reply(200, encode({"model": read_asked(body, chat=False).model, "embeddings": vectors, **counts}))

    async def _embeddings(self, call: Call) -> None:
        """The older form: one text, one vector."""
        body = read_strict(call.body)
        prompt = body.get("prompt", "")
        if not isinstance(prompt, str):
            raise InvalidRequest("prompt must be a text.", param="prompt", retry=False)
        vectors, _ = await self._vectors(call, body, prompt) if prompt else self._no_vectors(call, body)
        await call.reply(200, encode({"embedding": vectors[0] if vectors else []}))

    def _no_vectors(self, call: Call, body: dict[str, Any]) -> tuple[list[list[float]], None]:
        """Of nothing; but the model must be there."""
        self._gateway.model(read_asked(body, chat=False).model, call.key_name)
        return [], None

    async def _vectors(
        self, call: Call, body: dict[str, Any], given: str | list[Any]
    ) -> tuple[list[list[float]], Inference]:
        asked, dimensions = read_asked(body, chat=False), body.get("dimensions")
        if dimensions is not None and (type(dimensions) is not int or dimensions < 1):
            raise InvalidRequest("dimensions must be a whole number from 1 on.", param="dimensions", retry=False)
        request = _request(call, Route.EMBEDDING, {"model": asked.model, "input": given}, asked)
        request.overflow, request.overflow_else = overflow_asked(call.headers), Overflow.TRUNCATE
        if asked.truncate is not None:
            request.overflow = Overflow.TRUNCATE if asked.truncate else Overflow.ERROR
        async with self._gateway.infer(request) as inference:
            exchange = await inference.open()
            if exchange.status >= 400:
                raise await exchange.error()
            await tell_dropped(call, inference.dropped)
            found = vectors(await exchange.body(), dimensions)
        await self._keep(call, inference.instance_id, asked.keep_alive)
        return found, inference

    # ---- instances

    async def _fit(self, request: InferenceRequest, asked: Asked) -> None:
        """num_ctx: an instance that holds as much is used as it is. A smaller one that a request had loaded makes room
        if nobody uses it; one that is in use, or an operator's, serves, and says so where the prompt does not fit."""
        if asked.context is None:
            return
        info = self._gateway.model(asked.model, request.client)
        wanted = min(asked.context, info.max_context or asked.context)
        loaded = self._instances(info.key)
        enough = [each for each in loaded if (each.load_config.context_length or 0) >= wanted]
        if enough:
            request.body["model"] = max(enough, key=lambda each: each.last_used).instance_id
            return
        for each in loaded:
            if each.automatic and not each.pinned and not each.leases and not each.waiting:
                await self._gateway.pool.unload(each.instance_id, reason="evicted")
        context = max(wanted, info.load.context_length or 0)
        request.load = replace(request.load or LoadConfig(), context_length=context)

    def _instances(self, key: str) -> list[Instance]:
        return [each for each in self._gateway.pool.instances() if each.model_key == key and is_running(each)]

    async def _keep(self, call: Call, instance_id: str | None, seconds: float | None) -> None:
        """0: unload once idle. Negative: no end by idleness."""
        if instance_id is None or seconds is None or not call.may(ADMIN):
            return
        instance = self._gateway.pool.get(instance_id)
        if instance is None or not instance.automatic or instance.pinned:
            return
        if seconds == 0 and not instance.leases and not instance.waiting:
            await self._gateway.pool.unload(instance.instance_id, reason="request")
            return
        self._gateway.pool.set_idle_ttl(instance.instance_id, _idle(seconds))

    # ---- errors

    def error_body(self, error: GatewayError, request_id: str) -> bytes:
        """{"error": text}, in Ollama's words where clients read them."""
        return encode({"error": wording(error)})

    def error_frame(self, error: GatewayError, request_id: str) -> bytes:
        """A last line; its libraries raise on it."""
        return ndjson(self.error_body(error, request_id))


def _request(call: Call, route: Route, body: dict[str, Any], asked: Asked) -> InferenceRequest:
    request = call.inference(route, body)
    if asked.keep_alive is not None and not call.may(ADMIN):
        request.load = LoadConfig(idle_ttl=_idle(asked.keep_alive))
    return request


def _idle(keep_alive: float) -> float:
    """As an idle TTL, where 0 is never."""
    return max(0.0, keep_alive) if keep_alive else SOON


def wording(error: GatewayError) -> str:
    """Some clients pull a model when they read that it is "not found", others look for a context that is too short."""
    if isinstance(error, ContextLengthExceeded) and (numbers := both_numbers(error)) is not None:
        words = f"the input length exceeds the context length: {numbers[0]} tokens, of {numbers[1]}."
        return error.told(words)
    text = error.told()
    if isinstance(error, ModelNotFound) and "not found" not in text.lower():
        return f"model not found: {text}"
    return text
