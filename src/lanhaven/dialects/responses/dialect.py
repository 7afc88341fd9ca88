"""The Responses dialect: /v1/responses and what belongs to it, as OpenAI's libraries and Codex speak it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from lanhaven.dialects.base import SSE, Call, Dialect, DialectContext, Handler, conversation, respond
from lanhaven.dialects.counting import prompt_tokens
from lanhaven.dialects.openai.errors import error_body
from lanhaven.dialects.responses.events import Event, Events, frame
from lanhaven.dialects.responses.kept import Kept, Shelf, check_not_streamed, page_of
from lanhaven.dialects.responses.request import Asked, read_request
from lanhaven.dialects.tools.offering import Offer
from lanhaven.dialects.tools.reading import read_blocks
from lanhaven.dialects.tools.settling import settle
from lanhaven.errors import GatewayError, InvalidRequest, NotFound
from lanhaven.gateway import Gateway
from lanhaven.inference import Inference
from lanhaven.store import Store
from lanhaven.types.chat import InferenceRequest, Route
from lanhaven.upstream.exchange import Exchange
from lanhaven.wire import KEEP_ALIVE, encode, read_strict, sse

MAX_INFLATED = 20 << 20  # bytes; Codex may compress what it sends
MAX_NAMED = 16
LEFT_OUT = b"x-lanhaven-left-out"  # a reply's header: tools that the model was not told of


class ResponsesDialect(Dialect):
    """Routes under /v1 and, the same, without it."""

    name = "responses"
    stream_headers = SSE
    keep_alive = KEEP_ALIVE
    zstd = MAX_INFLATED

    def __init__(self, gateway: Gateway, store: Store) -> None:
        self._gateway = gateway
        self._store = store

    @classmethod
    def create(cls, context: DialectContext) -> ResponsesDialect:
        """For the registry."""
        return cls(context.gateway, context.store)

    def routes(self) -> Mapping[str, Mapping[str, Handler]]:
        """Path -> method -> handler. The path that ends in "/" takes an id, and what is asked of it."""
        table: dict[str, Mapping[str, Handler]] = {
            "/responses": {"POST": self._create},
            "/responses/input_tokens": {"POST": self._count},
            "/responses/": {"GET": self._read, "DELETE": self._delete, "POST": self._cancel},
        }
        return {prefix + path: methods for path, methods in table.items() for prefix in ("/v1", "")}

    def error_body(self, error: GatewayError, request_id: str) -> bytes:
        """OpenAI's envelope."""
        return error_body(error)

    def error_frame(self, error: GatewayError, request_id: str) -> bytes:
        """Only for a stream that has no state of its own (yet); see `Reply`."""
        return sse(error_body(error), "error")

    # ---- answers

    async def _create(self, call: Call) -> None:
        asked = read_request(read_strict(call.body))
        shelf = Shelf(self._store, call.key_name)
        chat = asked.chat(await shelf.before(asked.previous))
        offer, notes = settle(self._gateway, chat, asked.model)
        reply = Reply(Events(asked, asked.model or self._key(asked.model), _now()), shelf, offer)
        call.extra = notes
        call.dialect = reply
        if asked.tools.left_out:
            call.extra = [*notes, (LEFT_OUT, ", ".join(asked.tools.left_out[:MAX_NAMED]).encode())]
        request = self._request(Route.CHAT, chat, asked, call)
        await respond(call, self._gateway, request, reply.relay, streamed=asked.stream)

    async def _count(self, call: Call) -> None:
        asked = read_request(read_strict(call.body))
        chat = asked.chat(await Shelf(self._store, call.key_name).before(asked.previous))
        settle(self._gateway, chat, asked.model)
        chat = {name: value for name, value in chat.items() if name not in ("stream", "stream_options", "max_tokens")}
        count = await prompt_tokens(self._gateway, self._request(Route.INPUT_TOKENS, chat, asked, call))
        await call.reply(200, encode({"object": "response.input_tokens", "input_tokens": count}))

    def _key(self, model: str | None) -> str:
        """The model's key; the name itself of one that there is not."""
        try:
            return self._gateway.catalog.resolve(model, self._gateway.pool.ids()).info.key
        except GatewayError:
            return model or ""

    def _request(self, route: Route, chat: dict[str, Any], asked: Asked, call: Call) -> InferenceRequest:
        if asked.model is not None:
            chat["model"] = asked.model
        request = call.inference(route, chat)
        request.extras = asked.extras
        request.overflow = asked.overflow
        request.affinity = conversation(call.headers, asked.shown["prompt_cache_key"] or asked.shown["user"], {})
        return request

    # ---- kept responses

    async def _read(self, call: Call) -> None:
        name, rest = _named(call)
        shelf = Shelf(self._store, call.key_name)
        if rest == "":
            check_not_streamed(call.query)
            await call.reply(200, encode((await shelf.get(name)).response))
        elif rest == "input_items":
            kept = await shelf.get(name)
            before = await shelf.before(kept.response["previous_response_id"])
            await call.reply(200, encode(page_of([*before, *kept.items], call.query)))
        else:
            _no_route(call)

    async def _delete(self, call: Call) -> None:
        name, rest = _named(call)
        if rest:
            _no_route(call)
        await Shelf(self._store, call.key_name).delete(name)
        await call.reply(200, encode({"id": name, "object": "response", "deleted": True}))

    async def _cancel(self, call: Call) -> None:
        """Only a response in the background can be cancelled, and there are none: who wants to end one leaves."""
        name, rest = _named(call)
        if rest != "cancel":
            _no_route(call)
        await Shelf(self._store, call.key_name).get(name)
        raise InvalidRequest("Cannot cancel a synchronous response.", param="id", retry=False)


class Reply(Dialect):
    """One answer: relays it, keeps it, and words its signs of life and its failure as parts of its own stream."""

    name = ResponsesDialect.name
    stream_headers = SSE
    keep_alive = KEEP_ALIVE

    def __init__(self, events: Events, shelf: Shelf, offer: Offer | None) -> None:
        self._events = events
        self._shelf = shelf
        self._offer = offer

    def beat(self) -> bytes:
        """The next event that says no more than that the stream is alive."""
        return _frames(self._events.beat())

    def routes(self) -> Mapping[str, Mapping[str, Handler]]:
        """None: it is made for one call."""
        return {}

    def error_body(self, error: GatewayError, request_id: str) -> bytes:
        """OpenAI's envelope."""
        return error_body(error)

    def error_frame(self, error: GatewayError, request_id: str) -> bytes:
        """response.failed, which is the last event."""
        return _frames(self._events.fail(error))

    async def relay(self, call: Call, inference: Inference, exchange: Exchange) -> None:
        """The reply as a stream of events, or as the Response that its last event holds."""
        events = self._events
        if not events.asked.stream:
            async for block in read_blocks(self._offer, inference, exchange):
                for chunk in block:
                    list(events.feed(chunk))
            list(events.close())
            await call.reply(200, encode(await self._finished(exchange)))
            return
        async for block in read_blocks(self._offer, inference, exchange):
            if frames := _frames(events.start()) + b"".join(map(events.frames, block)):
                await call.start()
                await call.write(frames)
        frames = _frames([*events.start(), *events.close()])
        frames += frame(events.last(await self._finished(exchange)))
        await call.start()
        await call.write(frames)
        await call.finish()

    async def _finished(self, exchange: Exchange) -> dict[str, Any]:
        """The Response, kept before anybody hears that it is: the next request may go on from it at once."""
        asked = self._events.asked
        response = self._events.response(exchange.outcome, stored=asked.store, now=_now())
        if asked.store and not await self._shelf.put(Kept(response, asked.items)):
            response["store"] = False
        return response


def _frames(events: Sequence[Event]) -> bytes:
    return b"".join(map(frame, events))


def _named(call: Call) -> tuple[str, str]:
    """Id and rest of /v1/responses/ID/REST."""
    name, _, rest = call.path.split("/responses/", 1)[1].partition("/")
    return name, rest


def _no_route(call: Call) -> NoReturn:
    raise NotFound(f"No such route: {call.method} {call.path}.", retry=False)


def _now() -> int:
    """Seconds since the epoch."""
    return time.time_ns() // 10**9
