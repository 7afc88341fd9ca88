"""What all dialects share: the client's side of one call, and `respond`, the one place that streams, ends and fails.

The client leaving needs no watcher here: the listener cancels the task that runs the call when its connection is
lost, in every phase, and the `finally` blocks on the way out close the upstream and give the instance back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from lanhaven.context import HEADER as OVERFLOW
from lanhaven.context import read_overflow
from lanhaven.dialects.background import Background, BatchLimits
from lanhaven.downloads import Downloads
from lanhaven.errors import GatewayError
from lanhaven.gateway import Gateway
from lanhaven.inference import Inference
from lanhaven.store import Store
from lanhaven.types.chat import Dropped, InferenceRequest, Route
from lanhaven.types.models import Overflow
from lanhaven.upstream.exchange import Exchange

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
Tap = Callable[[str, bytes, Send], Send]  # id, body, where the answer goes -> where it is to go instead

JSON: Headers = [(b"content-type", b"application/json")]
SSE: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would hold tokens back otherwise
]

# What clients name a conversation by. Its requests go to the same instance, which has their prompt in its cache.
CONVERSATION = frozenset(
    (b"x-claude-code-session-id", b"session-id", b"session_id", b"x-session-affinity", b"x-session-id")
)
LONGEST_NAME = 256


@dataclass(frozen=True, slots=True)
class DialectContext:
    """What a dialect's factory gets: `create(context) -> Dialect`."""

    gateway: Gateway
    data_dir: Path  # for what a dialect has to keep over a restart
    store: Store
    downloads: Downloads
    background: Background = field(default_factory=Background)
    batch: BatchLimits = BatchLimits()
    tap: Callable[[], Tap | None] = lambda: None  # who sees what is asked and answered now, on wish


class Dialect(Protocol):
    """One API family: its routes, and how it words errors."""

    name: str
    stream_headers: Headers
    keep_alive: bytes  # a frame that its clients ignore
    zstd: int = 0  # bytes that a request body in zstd may have once inflated; 0: none is taken
    uploads: frozenset[str] = frozenset()  # paths whose bodies are read by the handler, piece by piece: `Call.pieces`

    def routes(self) -> Mapping[str, Mapping[str, Handler]]:
        """Path -> method -> handler."""
        ...

    def beat(self) -> bytes:
        """The frame that fills a silence: what it returns is sent."""
        return self.keep_alive

    def status(self, error: GatewayError) -> int:
        """The HTTP status of an error reply."""
        return error.status

    def error_body(self, error: GatewayError, request_id: str) -> bytes:
        """The body of an error reply."""
        ...

    def error_frame(self, error: GatewayError, request_id: str) -> bytes:
        """The last frame of a stream that fails after its status line; no success terminator follows it."""
        ...


class Call(msgspec.Struct):
    """The client's side of one call: who asks, and where the answer goes. X-Request-Id is added further out."""

    send: Send
    request_id: str
    path: str
    method: str
    dialect: Dialect
    body: bytes = b""
    pieces: Callable[[int], AsyncIterator[bytes]] | None = None  # of an upload: its body, of so many bytes at most
    query: bytes = b""
    headers: Headers = msgspec.field(default_factory=list)
    key_name: str | None = None
    scopes: frozenset[str] | None = None  # of the key ("inference", "admin", "debug"); None: none is needed
    address: str | None = None
    tap: Tap | None = None  # sees what is asked and answered, on wish
    extra: Headers | tuple[()] = ()  # headers of the dialect's own, for every kind of reply
    interval: float = 15.0  # seconds between keep-alive comments of a silent stream
    started: bool = False
    _closing: bool = False
    _busy: bool = False
    _last: float = 0.0
    _timer: asyncio.TimerHandle | None = None
    _pulse: asyncio.Task[None] | None = None

    def may(self, scope: str) -> bool:
        """Whether who asks may do what `scope` names."""
        return self.scopes is None or scope in self.scopes

    def __repr__(self) -> str:
        return f"Call({self.request_id} {self.method} {self.path})"

    def inference(self, route: Route, body: dict[str, Any]) -> InferenceRequest:
        """This call as an inference; what else is known of it is set there."""
        return InferenceRequest(
            route,
            body,
            self.request_id,
            self.path,
            self.method,
            dialect=self.dialect.name,
            client=self.key_name,
            headers=self.headers,
            address=self.address,
            user_agent=user_agent(self.headers),
        )

    async def reply(self, status: int, body: bytes, headers: Headers = JSON) -> None:
        """A whole reply."""
        self.started = True
        length = (b"content-length", b"%d" % len(body))
        await self.send({"type": "http.response.start", "status": status, "headers": [*headers, *self.extra, length]})
        await self.send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    def expect_stream(self) -> None:
        """From now on a silence of `interval` seconds is filled with keep-alive frames.

        The first one also sends the status line: a client that waits long for a load must not think us dead (and
        proxies cut idle connections after 60 s). Until then a failure is still a plain error reply.
        """
        loop = asyncio.get_running_loop()
        self._last = loop.time()
        self._timer = loop.call_later(self.interval, self._tick)

    async def start(self) -> None:
        """Send the head of a streamed reply, unless a keep-alive frame already did."""
        if self.started:
            return
        self.started = True
        headers = [*self.dialect.stream_headers, *self.extra]
        await self.send({"type": "http.response.start", "status": 200, "headers": headers})

    async def write(self, data: bytes) -> None:
        """Send a block of whole frames; waits while the client is slow."""
        self._busy = True
        await self.send({"type": "http.response.body", "body": data, "more_body": True})
        self._busy = False
        self._last = asyncio.get_running_loop().time()

    async def finish(self) -> None:
        """End the streamed reply cleanly."""
        await self._quiet()
        await self.send({"type": "http.response.body", "body": b""})

    async def fail(self, error: GatewayError) -> None:
        """Tell the client: an error reply, or the dialect's error frame once the stream has begun."""
        await self._quiet()
        if not self.started:
            body = self.dialect.error_body(error, self.request_id)
            await self.reply(self.dialect.status(error), body, [*JSON, *retry_headers(error)])
            return
        await self.send(
            {"type": "http.response.body", "body": self.dialect.error_frame(error, self.request_id), "more_body": False}
        )

    async def _quiet(self) -> None:
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        if self._pulse is not None:
            await self._pulse

    def _tick(self) -> None:
        if self._closing:
            return
        loop = asyncio.get_running_loop()
        due = self._last + self.interval
        if self._busy or loop.time() < due:
            self._timer = loop.call_at(max(due, loop.time() + 0.01), self._tick)
            return
        self._pulse = loop.create_task(self._beat())
        self._last = loop.time()
        self._timer = loop.call_later(self.interval, self._tick)

    async def _beat(self) -> None:
        if not (self._busy or self._closing):
            await self.start()
            await self.write(self.dialect.beat())

    def release(self) -> None:
        """Stop the keep-alive timer for good (the client left)."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        if self._pulse is not None:
            self._pulse.cancel()


Handler = Callable[[Call], Awaitable[None]]
Relay = Callable[[Call, Inference, Exchange], Awaitable[None]]


async def respond(
    call: Call, gateway: Gateway, request: InferenceRequest, relay: Relay, *, streamed: bool | None = None
) -> None:
    """Serve one inference: `relay` copies the reply of the upstream to the client in the dialect's words.

    `streamed`: whether the client wants a stream, said by translators: their upstream may be asked for one either way.
    A whole answer of theirs may take its time.

    A failure before the status line is an error reply with its own status, after it an error frame. In both cases the
    instance is free and the terminal event is out before the client hears of it.
    """
    if call.tap is not None:
        call.send = call.tap(call.request_id, call.body, call.send)
    request.affinity = conversation(call.headers, request.affinity, request.body)
    request.overflow = request.overflow or overflow_asked(call.headers)
    request.patient = streamed is False
    try:
        async with gateway.infer(request) as inference:
            if request.body.get("stream") is True if streamed is None else streamed:
                call.expect_stream()
            exchange = await inference.open()
            if exchange.status >= 400:
                raise await exchange.error()
            await tell_dropped(call, inference.dropped)
            await relay(call, inference, exchange)
    except GatewayError as error:
        await call.fail(error)
    finally:
        call.release()


def conversation(headers: Headers, said: Any, body: Mapping[str, Any]) -> str | None:
    """The name of the conversation: by a header, else what the dialect found, else OpenAI's fields for it."""
    if not CONVERSATION.isdisjoint(dict(headers)):  # nearly never: without a loop over the headers
        for name, value in headers:
            if name in CONVERSATION and value:
                return value[:LONGEST_NAME].decode("latin-1")
    for found in filter(None, (said, body.get("prompt_cache_key"), body.get("user"))):
        if isinstance(found, str):
            return found[:LONGEST_NAME]
    return None


def user_agent(headers: Headers) -> str | None:
    """The program that the client says it is."""
    value = dict(headers).get(b"user-agent")
    return value[:LONGEST_NAME].decode("latin-1") if value else None


def overflow_asked(headers: Headers) -> Overflow | None:
    """What a header wishes for a prompt that does not fit. InvalidRequest for a word that is none."""
    said = dict(headers).get(OVERFLOW)
    return None if said is None else read_overflow(said.decode("latin-1").strip().lower(), OVERFLOW.decode())


async def tell_dropped(call: Call, dropped: Dropped | None) -> None:
    """Say what was left out of the prompt: in headers, or in a comment of a stream whose headers have left."""
    if dropped is None:
        return
    headers: Headers = [(b"x-lanhaven-dropped-messages", b"%d" % dropped.messages)]
    if dropped.tokens is not None:
        headers.append((b"x-lanhaven-dropped-tokens", b"%d" % dropped.tokens))
    if not call.started:
        call.extra = [*call.extra, *headers]
    elif call.dialect.stream_headers is SSE:
        await call.write(b"".join(b": %b: %b\n" % each for each in headers) + b"\n")


def retry_headers(error: GatewayError) -> Headers:
    """Retry-After (whole seconds, at least 1) and x-should-retry, where the error says something about them."""
    headers: Headers = []
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after))))
    if error.retry is not None:
        headers.append((b"x-should-retry", b"true" if error.retry else b"false"))
    return headers
