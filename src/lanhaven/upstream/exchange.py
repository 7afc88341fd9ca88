"""One request to an upstream and its reply: whole or as a stream, with the verdict on how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic

from lanhaven.errors import GatewayError, InternalError, UpstreamError, UpstreamTimeout
from lanhaven.types.chat import Outcome
from lanhaven.types.models import Upstream
from lanhaven.upstream.connection import BODY_LIMIT, END, HEAD, PART, Connection
from lanhaven.upstream.foreign import from_frame, from_reply
from lanhaven.upstream.reading import NOTHING, Unreadable, loads, note_usage, read
from lanhaven.upstream.stream import ReplyStream
from lanhaven.upstream.timers import Timers

ERROR_BYTES = 64 << 10  # of an error's body: more is not read
ERROR_SECONDS = 10.0  # for an error's body to arrive

_HTML = b"text/html"
_STREAM = b"text/event-stream"


class Exchange:
    """The reply has begun: `status` and `headers` (lower-case names) are known, `outcome` fills as the reply is read.

    Read it by `body` (whole replies) or by `more` (streams); with a status of 400 or above, both raise what `error`
    returns. It gives its connection back by itself at the end; leaving earlier needs `close`, from any state, as often
    as you like. A cancelled read leaves nothing behind but the need to `close`.
    """

    __slots__ = (
        "_begun",
        "_connection",
        "_deadline",
        "_error",
        "_held",
        "_over",
        "_path",
        "_release",
        "_reply",
        "_started",
        "_streaming",
        "_timers",
        "outcome",
        "upstream",
    )

    def __init__(
        self,
        connection: Connection,
        upstream: Upstream,
        path: str,
        timers: Timers,
        release: Callable[[Exchange, Connection], None],
        *,
        stream: bool,
        drop_usage: bool = False,
    ) -> None:
        self.outcome = Outcome()
        self.upstream = upstream
        self._connection: Connection = connection
        self._path = path
        self._timers = timers
        self._release: Callable[[Exchange, Connection], None] | None = release
        self._streaming = stream
        self._reply = ReplyStream(self.outcome, upstream.model, drop_usage=drop_usage) if stream else None
        self._started = monotonic()
        self._error: GatewayError | None = None  # what every read raises from now on
        self._over = False
        self._held = b""  # the first block, until `more` takes it
        self._begun = False  # a part of the stream's body was read
        self._deadline = 0.0  # for an error's body

    @property
    def status(self) -> int:
        return self._connection.status

    @property
    def headers(self) -> Mapping[bytes, bytes]:
        return self._connection.headers

    @property
    def streamed(self) -> bool:
        return self._streaming

    @property
    def pieces(self) -> int:
        """Pieces of the answer of a stream that came so far: about as many as tokens."""
        return 0 if self._reply is None else self._reply.pieces

    # Life

    async def begin(self, request: bytes) -> None:
        """Write the request and wait until the reply has begun (a stream) or is complete (anything else).

        Errors of the transport stay in the connection, for the sender to judge; an abort is raised.
        """
        connection = self._connection
        connection.start(request, streaming=self._streaming)
        await connection.wait(HEAD if self._streaming else END)
        if self._error is not None:
            raise self._error
        self.outcome.status = connection.status

    def abort(self, error: GatewayError) -> bool:
        """End it: a pending read, and every later one, raises `error`. False, and no effect, if the reply is over."""
        if self._reply is not None and self._reply.over:
            self._end(self._reply.failure)
        if self._over:
            return False
        self._over = True
        self._error = error
        self._connection.abort()
        self._let_go()
        return True

    def close(self) -> None:
        """Give the connection back, or close it if the reply was not read to its end."""
        if self._release is None:  # it was, at the end
            return
        if self._reply is not None and self._reply.over:
            self._end(self._reply.failure)
        elif not self._over:
            self.abort(InternalError("The reply was closed before it was read."))
        self._let_go()

    def _let_go(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            release(self, self._connection)

    def _end(self, error: GatewayError | None = None) -> None:
        """The reply is over, well or not."""
        if not self._over:
            self._over = True
            self._error = error
        self._let_go()

    def check(self, now: float) -> None:
        """Called by the client's clock: end what takes too long."""
        timers, connection = self._timers, self._connection
        if self._over or connection.done or connection.failure is not None:
            return
        if self._deadline:
            if self._deadline < now:
                connection.fail(UpstreamTimeout("The model's server did not end its error reply.", retry=False))
            return
        age = now - self._started
        if not self._streaming:
            if 0 < timers.total < age:
                self.abort(_slow("did not answer completely within", timers.total))
        elif 0 < timers.stream_total < age:
            self.abort(_slow("did not end its reply within", timers.stream_total))
        elif not connection.waiting:
            return  # it is the client's turn
        elif not self._begun:
            if 0 < timers.first_byte < age:
                self.abort(_slow("sent nothing for", timers.first_byte))
        elif 0 < timers.idle < now - connection.since:
            self.abort(_slow("fell silent for", timers.idle))

    # Whole replies

    async def body(self, limit: int = BODY_LIMIT) -> bytes:
        """The whole reply, which is a JSON object and no error; `limit` bytes at most. Sets the outcome."""
        data = await self._whole(limit)
        error = self._refusal(data) if self._connection.status >= 400 else self._examine(data)
        self._end(error)
        if error is not None:
            raise error
        return data

    async def _whole(self, limit: int) -> bytes:
        """All bytes of the body; for an error reply, those that came."""
        self._check_open()
        if self._streaming:  # its reading pauses when nobody takes; waiting for the end would last for ever
            raise InternalError("This reply is a stream.")
        connection = self._connection
        if not connection.done:
            await connection.wait(END)
        if self._error is not None:
            raise self._error
        data = connection.take()
        if connection.failure is not None and connection.status < 400:
            self._end(connection.failure)
            raise connection.failure
        if len(data) > limit:
            error = UpstreamError(f"The model's server sent a reply longer than {limit} bytes.")
            self._end(error)
            raise error
        return data

    def _examine(self, data: bytes) -> GatewayError | None:
        if self._connection.headers.get(b"content-type", b"").startswith(_HTML):
            return UpstreamError("The model's server answered with a web page.")
        try:
            message = read(data)
        except Unreadable:
            return UpstreamError("The model's server sent a reply that is not a complete JSON object.")
        if message.error is not NOTHING and loads(message.error):
            return from_frame(data, self.upstream.model)
        if self._path.endswith("completions"):
            if not message.choices:
                return UpstreamError("The model's server sent a reply without an answer in it.")
            self.outcome.finish_reason = message.choices[0].finish_reason
        note_usage(message, self.outcome)
        if self.outcome.writing:
            self.outcome.first_token = max(self._started, monotonic() - self.outcome.writing)
        return None

    async def raw(self) -> bytes:
        """The bytes of a whole reply, whatever they are."""
        data = await self._whole(BODY_LIMIT)
        self._end()
        return data

    # Streams

    async def first(self) -> GatewayError | None:
        """Wait for the first block, which `more` then gives; the error, if one stands in its place."""
        try:
            self._held = await self.more()
        except GatewayError as error:
            return error
        return None

    async def more(self) -> bytes:
        """The next block of whole frames, as they came; b"" at the end of a reply that succeeded, else its error."""
        if self._held:
            held, self._held = self._held, b""
            return held
        reply, connection = self._reply, self._connection
        if reply is None:
            raise InternalError("This reply is not a stream.")
        if connection.status != 200 and not self._over:
            raise await self.error()
        while not self._over:
            if connection.parts:
                self._begun = True
                block = reply.feed(connection.take())
            elif reply.over:
                self._end(reply.failure)
                break
            elif connection.done or connection.failure is not None:
                block = reply.end(connection.failure)
            else:
                await connection.wait(PART)
                continue
            if block:
                if self.outcome.first_token is None:
                    self.outcome.first_token = monotonic()
                return block
        if self._error is not None:
            raise self._error
        return b""

    # Errors

    async def error(self) -> GatewayError:
        """What a reply with a status of 400 or above means. Reads its body, within bounds of size and time."""
        data = await self._remains()
        error = self._error or self._refusal(data)
        self._end(error)
        return error

    async def _remains(self) -> bytes:
        """As much of the body as comes within ERROR_BYTES and ERROR_SECONDS (or `idle`, if that is less)."""
        connection = self._connection
        parts: list[bytes] = []
        size = 0
        self._deadline = monotonic() + min(ERROR_SECONDS, self._timers.idle or ERROR_SECONDS)
        while not self._over and size < ERROR_BYTES:
            if connection.parts:
                parts.append(connection.take())
                size += len(parts[-1])
            elif connection.done or connection.failure is not None:
                break
            else:
                await connection.wait(PART)
        return b"".join(parts)

    def _refusal(self, data: bytes) -> GatewayError:
        html = self.headers.get(b"content-type", b"").startswith(_HTML)
        return from_reply(self.status, self.headers, b"" if html else data[:ERROR_BYTES], self.upstream.model)

    async def check_head(self) -> None:
        """Raise what can be told from the head: a redirect (F-042), or a success that is no event stream where one was
        asked for. Some servers ignore `stream`, and LM Studio answers unknown routes with 200 and an error object."""
        status = self._connection.status
        if status >= 400 or (status < 300 and not self._streaming):
            return
        kind = self.headers.get(b"content-type", b"").lower()
        if self.status == 200 and (kind.startswith(_STREAM) or not kind):
            return
        error = self._refusal_of_head(kind, await self._remains() if self.status == 200 else b"")
        self._end(error)
        raise self._error or error

    def _refusal_of_head(self, kind: bytes, data: bytes) -> GatewayError:
        if 300 <= self.status < 400:
            return UpstreamError("The model's server redirects; that is not followed.", facts={"status": self.status})
        if kind.startswith(_HTML):
            return UpstreamError("The model's server answered with a web page.")
        value = loads(data)
        if isinstance(value, dict) and value.get("error"):
            return from_frame(data, self.upstream.model)
        return UpstreamError("The model's server did not answer with a stream, though asked to.")

    def _check_open(self) -> None:
        if self._over:
            raise self._error or InternalError("The reply has been read already.")

    def __repr__(self) -> str:
        state = "over" if self._over else "waiting" if self._connection.waiting else "open"
        return f"Exchange({state} {self.status} {self._path} {self.upstream.model!r} {self._error!r})"


def _slow(what: str, seconds: float) -> UpstreamTimeout:
    return UpstreamTimeout(f"The model's server {what} {seconds:g} s.", retry=False)
