"""uvicorn's HTTP protocol, hardened: every wait has an end, every size a bound, and a lost client ends its request.

uvicorn 0.54 itself waits forever for a head, takes heads of any size and two Hosts (measured), and lets the application
run on when the client has left. See docs/security.md for what a client may expect instead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn._types import ASGI3Application, ASGIVersions
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from lanhaven.server.cycle import Cycle
from lanhaven.server.deadline import Deadline
from lanhaven.server.flow import Flow
from lanhaven.server.head import Refused, judge_headers, judge_line, split_target
from lanhaven.server.limits import ListenerLimits
from lanhaven.server.output import OutputGuard
from lanhaven.server.phase import Phase
from lanhaven.server.replies import raw_refusal
from lanhaven.server.upgrade import AfterOffer

log = logging.getLogger("lanhaven.listener")

ASGI: ASGIVersions = {"version": "3.0", "spec_version": "2.3"}
UNREAD = 64 << 10  # bytes that a refused client may still send before its connection is cut


class HttpProtocol(HttpToolsProtocol):
    """One connection. `admits` says whether an address may connect, `draining` whether the server is going down."""

    cycle: Cycle
    reading: Flow  # the same as `flow`

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: ListenerLimits,
        admits: Callable[[str], bool],
        draining: Callable[[], bool],
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.parser = httptools.HttpRequestParser(self)  # uvicorn's own takes data after "connection: close"
        self.access_log = False
        self.limits = limits
        self.admits = admits
        self.draining = draining
        self.phase = Phase.HEAD
        self.running: Cycle | None = None  # the request that is being answered; `cycle` is the newest one read
        self.in_head = False
        self.in_body = False
        self.head_bytes = 0
        self.unread = 0
        self.body_began = 0.0  # on a clock that stands still while we do not read
        self.framing: bytes | None = None
        self.pending_refusal: Refused | None = None
        self.input_deadline = Deadline(self.loop, self._input_expired)
        self.output = OutputGuard(self.loop, limits.write_stall)

    # ---- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or turn it away before a byte of it is read."""
        super().connection_made(transport)
        self.flow = self.reading = Flow(transport, self.loop.time)
        over = len(self.connections) - self.limits.max_connections
        if over > self.limits.max_connections // 8 + 8:
            transport.abort()  # not even the places for those turned away are free
        elif over > 0:
            self._close_with(Refused(503, "Too many connections"))
        elif self.client is not None and not self.admits(self.client[0]):
            self._close_with(Refused(403, "Forbidden"))
        else:
            self.input_deadline.set(self.limits.header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: so is everything that was done for it."""
        self.connections.discard(self)
        self.phase = Phase.CLOSING
        self._client_left()
        self.flow.resume_writing()
        self.input_deadline.cancel()
        self.output.cancel()
        self.parser = None  # type: ignore[assignment]  # it holds us, we hold it

    def eof_received(self) -> None:
        """Half-closing counts as leaving (F-082): a client that sends no more cannot be told from one that is gone."""
        self._client_left()
        self.output.watch(self.transport, self.client)

    def _client_left(self) -> None:
        if self.running is not None:
            self.running.leave()
        for cycle, _ in self.pipeline:
            cycle.disconnected = True
        self.pipeline.clear()

    def shutdown(self) -> None:
        """The server goes down: close now if nothing is asked, else after the answer."""
        if self.running is not None:
            self.running.keep_alive = False
        elif self.phase is Phase.IDLE or (self.phase is Phase.HEAD and not self.head_bytes):
            self.phase = Phase.CLOSING
            self.transport.close()
            self.output.watch(self.transport, self.client)

    # ---- input

    def data_received(self, data: bytes) -> None:
        """Feed the parser, then look where that left us."""
        if self.phase is Phase.CLOSING:
            self._discard(len(data))
            return
        if not self.in_body:
            self.head_bytes += len(data)
        offered_at: int | None = None
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            offered_at = offer.args[0]
        except httptools.HttpParserCallbackError as error:
            self._callback_failed(error)
        except httptools.HttpParserError:
            self._malformed()
        else:
            if self.in_head and self.head_bytes > self.limits.max_header_bytes:
                self._refuse(Refused(431, "The request head is too large"))
        if offered_at is None:
            self._await_next()
        else:
            self._answer_offer(data[offered_at:])

    def _await_next(self) -> None:
        """Set the deadline for what the client owes next."""
        if self.phase is Phase.CLOSING:
            return
        if self.in_head:
            if self.phase is not Phase.HEAD:
                self.phase = Phase.HEAD
                self.input_deadline.set(self.limits.header_timeout)
        elif self.in_body:
            now = self.loop.time() - self.reading.held
            if self.phase is not Phase.BODY:
                self.phase, self.body_began = Phase.BODY, now
            left = self.body_began + self.limits.body_total - now
            self.input_deadline.set(min(self.limits.body_idle, left))
        elif self.running is not None:
            self.phase = Phase.ANSWER
            self.input_deadline.clear()

    def _input_expired(self) -> None:
        match self.phase:
            case Phase.BODY | Phase.HEAD if self.flow.read_paused:
                # We are the slow side: the application has not taken what is here yet.
                self.input_deadline.set(self.limits.body_idle)
            case Phase.BODY:
                self._refuse(Refused(408, "The request body did not arrive in time"))
            case Phase.HEAD if self.head_bytes:
                self._refuse(Refused(408, "The request head did not arrive in time"))
            case Phase.CLOSING:
                self.transport.abort()
            case _:
                # No reply: a browser that connected ahead of need would take it for the answer to its next request.
                self.phase = Phase.CLOSING
                self.transport.close()
                self.output.watch(self.transport, self.client)

    def _discard(self, size: int) -> None:
        self.unread += size
        if self.unread > UNREAD:
            self.flow.pause_reading()  # the deadline set by _close_with ends it

    # ---- callbacks of the parser

    def on_message_begin(self) -> None:
        """A request line begins. As uvicorn's, which makes a dictionary more."""
        self.in_head = True
        self.url = b""
        self.headers = []
        self.scope = {  # type: ignore[typeddict-item]  # the rest is known when the head is
            "type": "http",
            "asgi": ASGI,
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,  # type: ignore[typeddict-item]
            "root_path": self.root_path,
            "headers": self.headers,
            "state": self.app_state.copy(),
        }

    def on_url(self, url: bytes) -> None:
        """A part of the request target."""
        self.url += url
        if len(self.url) > self.limits.max_url_bytes:
            raise Refused(414, "The request target is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; trailers (RFC 9110, 6.5) come here too, after the head, and are dropped."""
        if not self.in_head:
            return
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Judge the head; start the request, or queue it behind the one that is being answered."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        judge_line(method, version, self.url)
        if len(self.headers) > self.limits.max_headers:
            raise Refused(431, "Too many headers")
        if self.head_bytes > self.limits.max_header_bytes:
            self._measure_head()
        self.framing, expects_continue = judge_headers(self.headers, version)
        self.in_head, self.in_body = False, True
        self.head_bytes = 0
        scope = self.scope
        scope["method"] = method.decode("ascii")
        scope["http_version"] = version
        if self.parser.should_upgrade() and self._should_upgrade():
            return
        scope["raw_path"], scope["path"], scope["query_string"] = split_target(self.url)
        self._begin(version == "1.1" and self.parser.should_keep_alive(), expects_continue)

    def _measure_head(self) -> None:
        """Exactly, for a head that came together with other bytes."""
        if (
            len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            > self.limits.max_header_bytes
        ):
            raise Refused(431, "The request head is too large")

    def _begin(self, keep_alive: bool, expects_continue: bool) -> None:
        if len(self.pipeline) >= self.limits.max_pipelined:
            raise Refused(503, "Too many requests at once on one connection")
        self.cycle = Cycle(
            self.scope,
            self.transport,
            self.flow,
            self.server_state.default_headers,
            self.on_response_complete,
            keep_alive=keep_alive and not self.draining(),
            expects_continue=expects_continue,
        )
        if self.running is None:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        """A part of the body. More than the high-water mark waits in the kernel until the application reads."""
        cycle = self.cycle
        if cycle.response_complete or cycle.disconnected:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The request has been read whole."""
        if self.parser.should_upgrade() and (self._should_upgrade() or self.framing is not None):
            return  # llhttp stops before the body of a request that offers an upgrade: see _answer_offer
        self.in_body = False
        self.cycle.more_body = False
        self.cycle.message_event.set()

    def _should_upgrade_to_ws(self) -> bool:
        """Only a whole offer, where there are WebSockets: a GET without a body, with the key that the answer is made
        from."""
        if self.ws_protocol_class is None:
            return False
        whole = self.framing is None and self.scope["method"] == "GET"
        return whole and any(name == b"sec-websocket-key" for name, _ in self.headers)

    def _answer_offer(self, rest: bytes) -> None:
        """A WebSocket goes to uvicorn; any other offer (Java's HTTP client offers h2c by default) is not taken up."""
        if self._should_upgrade():
            if rest or self.running is not None or self.pipeline:
                self._refuse(Refused(400, "A WebSocket begins on a connection of its own, and waits for its answer"))
                return
            self.input_deadline.cancel()
            self.output.cancel()
            self.handle_websocket_upgrade()
            self.parser = None  # type: ignore[assignment]  # as in connection_lost, of which we shall not hear
            return
        if self.framing is None:
            self.parser = httptools.HttpRequestParser(self)
        else:
            self.parser = httptools.HttpRequestParser(AfterOffer(self))
            self.parser.feed_data(b"POST / HTTP/1.1\r\n" + self.framing + b"\r\n\r\n")
        if rest:
            self.data_received(rest)
        else:
            self._await_next()

    # ---- answers

    def _start_asgi_task(self, cycle: Any, app: ASGI3Application) -> None:
        self.running = cycle
        task = self.loop.create_task(cycle.run_asgi(app))
        cycle.task = task
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def on_response_complete(self) -> None:
        """An answer is written: next request, or wait for one, or close."""
        cycle, self.running = self.running, None
        if self.transport.is_closing():
            self.output.watch(self.transport, self.client)
        elif cycle is not None and cycle.lingering:
            self._linger()
        elif self.pipeline:
            self.flow.resume_reading()
            self._start_asgi_task(*self.pipeline.pop())
        elif self.pending_refusal is not None:
            self._close_with(self.pending_refusal)
        else:
            self.flow.resume_reading()
            if not self.in_head and not self.in_body:
                self.phase = Phase.IDLE
                self.input_deadline.set(self.limits.keep_alive)

    # ---- refusals

    def _callback_failed(self, error: httptools.HttpParserCallbackError) -> None:
        cause = error.__context__
        if isinstance(cause, Refused):
            self._refuse(cause)
            return
        log.error("the HTTP protocol failed", exc_info=cause)
        self._refuse(Refused(500, "Internal server error"))

    def _malformed(self) -> None:
        if self.running is not None and not self.in_head and not self.in_body and not self.cycle.keep_alive:
            return  # bytes after the last request; its answer ends the connection
        self._refuse(Refused(400, "Malformed HTTP request"))

    def _refuse(self, refused: Refused) -> None:
        """Answer with `refused` when it is this request's turn, and close."""
        log.debug("refused %s: %d %s", self.client, refused.status, refused.message)
        running = self.running
        if running is None:
            self._close_with(refused)
        elif running is self.cycle and self.in_body:  # the fault is in the body of the request that is being answered
            running.leave()
            self.running = None
            if running.response_started:
                self.phase = Phase.CLOSING
                self.transport.close()
                self.output.watch(self.transport, self.client)
            else:
                self._close_with(refused)
        else:
            if self.in_body:
                self.pipeline.popleft()  # the newest: it would wait for the rest of its body for ever
            self.phase = Phase.CLOSING
            self.pending_refusal = refused
            self.input_deadline.clear()

    def _close_with(self, refused: Refused) -> None:
        self.transport.write(raw_refusal(refused.status, refused.message, self.server_state.default_headers))
        self._linger()

    def _linger(self) -> None:
        """Say that no more comes, and give the client a moment to read before the connection goes."""
        self.phase = Phase.CLOSING
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.input_deadline.set(self.limits.linger)

    # ---- output

    def pause_writing(self) -> None:
        """The client takes less than is written: the application waits from here on."""
        super().pause_writing()
        self.output.watch(self.transport, self.client)

    def resume_writing(self) -> None:
        """The client took what waited for it."""
        super().resume_writing()
        self.output.clear()
