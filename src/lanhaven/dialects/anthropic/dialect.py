"""The Anthropic dialect: /v1/messages and its token count, as the official libraries and Claude Code speak it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from lanhaven.context import both_numbers
from lanhaven.dialects.anthropic.events import Events, fold, frame
from lanhaven.dialects.anthropic.models import meant
from lanhaven.dialects.anthropic.request import Asked, conversation_of, extras_of, read_request
from lanhaven.dialects.base import SSE, Call, Dialect, DialectContext, Handler, conversation, respond
from lanhaven.dialects.counting import prompt_tokens
from lanhaven.dialects.tools.offering import Offer
from lanhaven.dialects.tools.reading import read_blocks
from lanhaven.dialects.tools.settling import settle
from lanhaven.errors import (
    CapacityError,
    ClientError,
    ContextLengthExceeded,
    EngineHung,
    Forbidden,
    GatewayError,
    InstanceConflict,
    NotFound,
    PayloadTooLarge,
    QueueFull,
    RateLimited,
    Unauthorized,
    UpstreamTimeout,
)
from lanhaven.gateway import Gateway
from lanhaven.inference import Inference
from lanhaven.types.chat import InferenceRequest, Route
from lanhaven.upstream.exchange import Exchange
from lanhaven.wire import encode, read_strict, sse


class AnthropicDialect(Dialect):
    """Query strings (`?beta=true`) and headers of betas are accepted and mean nothing here."""

    name = "anthropic"
    stream_headers = SSE
    keep_alive = sse(b'{"type": "ping"}', "ping")

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @classmethod
    def create(cls, context: DialectContext) -> AnthropicDialect:
        """For the registry."""
        return cls(context.gateway)

    def routes(self) -> Mapping[str, Mapping[str, Handler]]:
        """Path -> method -> handler."""
        return {
            "/v1/messages": {"POST": self._messages},
            "/v1/messages/count_tokens": {"POST": self._count},
        }

    async def _messages(self, call: Call) -> None:
        call.extra = [(b"request-id", call.request_id.encode())]
        body = read_strict(call.body)
        chat, asked = read_request(body)
        chat |= {"stream": asked.stream, "model": meant(self._gateway, asked.model)}
        offer, notes = settle(self._gateway, chat)
        call.extra = [*call.extra, *notes]
        request = self._request(Route.CHAT, chat, body, call)
        await respond(call, self._gateway, request, partial(relay, asked, offer), streamed=asked.stream)

    async def _count(self, call: Call) -> None:
        call.extra = [(b"request-id", call.request_id.encode())]
        body = read_strict(call.body)
        chat, asked = read_request(body, counting=True)
        chat["model"] = meant(self._gateway, asked.model)
        settle(self._gateway, chat)
        request = self._request(Route.INPUT_TOKENS, chat, body, call)
        await call.reply(200, encode({"input_tokens": await prompt_tokens(self._gateway, request)}))

    def _request(self, route: Route, chat: dict[str, Any], body: Mapping[str, Any], call: Call) -> InferenceRequest:
        request = call.inference(route, chat)
        request.extras = extras_of(body)
        request.affinity = conversation(call.headers, conversation_of(body), {})
        return request

    def status(self, error: GatewayError) -> int:
        """529 is Anthropic's own word for a server that has too much to do."""
        return 529 if error_type(error) == "overloaded_error" else error.status

    def error_body(self, error: GatewayError, request_id: str) -> bytes:
        """Anthropic's envelope."""
        detail = {"type": error_type(error), "message": wording(error)}
        return encode({"type": "error", "error": detail, "request_id": request_id})

    def error_frame(self, error: GatewayError, request_id: str) -> bytes:
        """The libraries raise on it; no message_stop follows."""
        return sse(self.error_body(error, request_id), "error")


def error_type(error: GatewayError) -> str:
    """The `type` that Anthropic gives an error of this kind."""
    match error:
        case Unauthorized():
            return "authentication_error"
        case Forbidden():
            return "permission_error"
        case NotFound():
            return "not_found_error"
        case InstanceConflict():
            return "conflict_error"
        case PayloadTooLarge():
            return "request_too_large"
        case QueueFull() | RateLimited():
            return "rate_limit_error"
        case ClientError():
            return "invalid_request_error"
        case CapacityError():
            return "overloaded_error"
        case UpstreamTimeout() | EngineHung():
            return "timeout_error"
        case _:
            return "api_error"


def wording(error: GatewayError) -> str:
    """Claude Code compacts its history when it reads Anthropic's own words for a prompt that is too long."""
    if isinstance(error, ContextLengthExceeded) and (numbers := both_numbers(error)) is not None:
        words = f"prompt is too long: {numbers[0]} tokens > {numbers[1]} maximum."
        return error.told(words)
    return error.told()


async def relay(asked: Asked, offer: Offer | None, call: Call, inference: Inference, exchange: Exchange) -> None:
    """The reply as a stream of events, or as their fold. What came together goes out together."""
    events = Events(asked, inference.context_length)
    if not asked.stream:
        told = [events.start()]
        async for block in read_blocks(offer, inference, exchange):
            for chunk in block:
                told += events.feed(chunk)
        await call.reply(200, encode(fold([*told, *events.end(exchange.outcome)])))
        return
    frames = frame(events.start())
    async for block in read_blocks(offer, inference, exchange):
        frames += b"".join(map(events.frames, block))
        if frames:
            await call.start()
            await call.write(frames)
        frames = b""
    frames += b"".join(map(frame, events.end(exchange.outcome)))
    await call.start()
    await call.write(frames)
    await call.finish()
