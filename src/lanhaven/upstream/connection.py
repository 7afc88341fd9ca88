"""One HTTP/1.1 connection to an upstream: bytes out, one parsed reply in, with every limit on what may come back.

llhttp (httptools) refuses what is ambiguous: repeated Content-Length, Content-Length with Transfer-Encoding, obs-fold,
bare LF, HTTP/0.9. It bounds nothing, so the bounds are here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import IntEnum
from time import monotonic

import httptools

from lanhaven.errors import GatewayError, UpstreamError

HEADER_BYTES = 64 << 10  # of one head, of the trailers, and of anything else that is no body
HEADER_COUNT = 100
INFORMATIONAL = 10  # 1xx replies before the real one (F-047)
HIGH_WATER = 256 << 10  # unread bytes of a stream at which the socket is left alone
BODY_LIMIT = 128 << 20  # a whole reply


class Want(IntEnum):
    """What the reader waits for."""

    HEAD = 0
    PART = 1
    END = 2


# Names of the module: reaching a member through its Enum costs 0.1 us, and each chunk needs several.
HEAD, PART, END = Want


class Connection(asyncio.Protocol):
    """Carries one exchange at a time. `on_lost` is called once, when the socket is gone.

    State of the reply being read: `headed` (status and headers are known), `parts` (unread body), `done` (complete),
    `failure` (why nothing more will come). `began`: any byte came since the request was written.
    """

    __slots__ = (
        "_barren",
        "_busy",
        "_count",
        "_excess",
        "_informational",
        "_limit",
        "_loop",
        "_on_lost",
        "_parser",
        "_paused",
        "_size",
        "_streaming",
        "_transport",
        "_waiter",
        "_want",
        "began",
        "by_eof",
        "closed",
        "done",
        "failure",
        "headed",
        "headers",
        "keep_alive",
        "on_done",
        "parts",
        "since",
        "status",
        "used",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, on_lost: Callable[[Connection], None]) -> None:
        self._loop = loop
        self._on_lost = on_lost
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._want = HEAD
        self._paused = False
        self._busy = False  # a request was written and its reply is not complete
        self.closed = False
        self.failure: GatewayError | None = None
        self.since = 0.0  # when the present wait began, or when it was put away idle (monotonic)
        self.used = 0  # requests written
        self.on_done: Callable[[Connection], None] | None = None  # the reply's reader has left before its end
        self._reset(streaming=False, limit=BODY_LIMIT)

    def _reset(self, *, streaming: bool, limit: int) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.parts: list[bytes] = []
        self.headed = self.done = self.began = self.keep_alive = self.by_eof = self._excess = False
        self._streaming = streaming
        self._limit = HIGH_WATER if streaming else limit
        self._size = self._barren = self._count = self._informational = 0

    # The request

    def start(self, request: bytes, *, streaming: bool, limit: int = BODY_LIMIT) -> None:
        """Write a request, head and body in one piece. A reply that is not `streaming` may have `limit` bytes."""
        self._reset(streaming=streaming, limit=limit)
        self.used += 1
        self._busy = True
        self.since = monotonic()
        if self._transport is None or self.closed:
            self.fail(_gone())
        else:
            self._transport.write(request)

    # The reader's side

    async def wait(self, want: Want) -> None:
        """Until there is something: the head, a part of the body, or the end. A failure ends every wait."""
        there = self.parts if want is PART else want is HEAD and self.headed
        if there or self.done or self.failure is not None:
            return
        self._want = want
        self.since = monotonic()
        self._waiter = waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    @property
    def waiting(self) -> bool:
        """Whether the reader waits for the upstream (and not the upstream for the reader)."""
        return self._waiter is not None

    def take(self) -> bytes:
        """The body's bytes that have come since the last call."""
        parts = self.parts
        self.parts = []
        self._size = 0
        if self._paused:
            self._paused = False
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def fail(self, error: GatewayError) -> None:
        """Nothing more will come, because of `error`. The first one stands. What came before can still be taken."""
        if self.failure is None:
            self.failure = error
        self.abort()

    def abort(self) -> None:
        """Close now, whatever is unsent. The upstream sees it and stops computing."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    @property
    def reusable(self) -> bool:
        return self.done and self.keep_alive and not self.closed and self.failure is None and not self._excess

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # The socket's side (asyncio.Protocol)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # asyncio types it loosely; it is a Transport

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self.closed:
            return
        self.began = True
        self._barren += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.fail(_broken("it switched protocols"))
            return
        except httptools.HttpParserError as error:
            self.fail(_reason(error))
            return
        if self._barren > HEADER_BYTES:
            self.fail(_broken("its headers are too long"))
        elif self._size > self._limit:
            self._full()
        if self._waiter is not None and (
            self.done or (self.parts if self._want is PART else self.headed and self._want is HEAD)
        ):
            self._wake()

    def _full(self) -> None:
        if not self._streaming:
            self.fail(_broken(f"its reply is longer than {self._limit >> 20} MiB"))
        elif not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def eof_received(self) -> None:
        self.closed = True  # no request may be written to it any more; connection_lost follows

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._busy and not self.done:
            framed = b"content-length" in self.headers or b"transfer-encoding" in self.headers
            if self.headed and exc is None and not framed and self.failure is None:
                self.done = self.by_eof = True  # HTTP/1.0 style: the end of the connection is the end of the body
            elif self.failure is None:
                self.failure = _cut() if self.began else _gone()
        self._busy = False
        self._parser = None  # it holds bound methods of ours: a cycle
        self._transport = None
        self._wake()
        self._on_lost(self)

    # The parser's side (llhttp)

    def on_message_begin(self) -> None:
        if not self._busy or self.headed:
            # A reply nobody asked for. It must not become the answer of the next request (F-049).
            self._excess = True
            raise _broken("it sent more than it announced")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count += 1
        if self._count > HEADER_COUNT:
            raise _broken("its headers are too long")
        if not self.headed:
            self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        if self._parser is None:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._informational += 1
            self.headers = {}
            if self._informational > INFORMATIONAL:
                raise _broken("it sends one interim reply after the other")
            return
        headers = self.headers
        if sum(map(len, headers)) + sum(map(len, headers.values())) > HEADER_BYTES:
            raise _broken("its headers are too long")
        encoding = headers.get(b"content-encoding")
        if encoding is not None and encoding.lower() != b"identity":
            raise _broken("its reply is compressed, though that was not asked for")
        framing = headers.get(b"transfer-encoding")
        if framing is not None and framing.lower() != b"chunked":
            raise _broken("its reply has an unknown Transfer-Encoding")
        self.status = status
        self.headed = True

    def on_body(self, data: bytes) -> None:
        self._barren = 0
        self._size += len(data)
        self.parts.append(data)

    def on_message_complete(self) -> None:
        if not self.headed or self._parser is None:
            return  # an interim reply
        self.done = True
        self._busy = False
        self.keep_alive = self._parser.should_keep_alive()
        self._barren = 0
        if self.on_done is not None:
            self.on_done(self)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "busy" if self._busy else "idle"
        return f"Connection({state} used={self.used} status={self.status} unread={self._size})"


def _broken(how: str) -> UpstreamError:
    return UpstreamError(f"The model's server broke the HTTP protocol: {how}.")


def _cut() -> UpstreamError:
    return UpstreamError("The model's server closed the connection in the middle of its reply.")


def _gone() -> UpstreamError:
    return UpstreamError("The model's server closed the connection without a reply.")


def _reason(error: httptools.HttpParserError) -> UpstreamError:
    """Our own refusal, raised inside a callback, or the parser's."""
    if isinstance(error.__context__, UpstreamError):
        return error.__context__
    return _broken(str(error)[:100])
