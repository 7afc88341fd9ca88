"""One request and its answer, on uvicorn's terms, but it can be called off, and it shows no traces."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from uvicorn._types import ASGI3Application, ASGIReceiveEvent, ASGISendEvent, HTTPScope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from lanhaven.server.replies import SECURITY_HEADERS, Headers, error_body, new_request_id

log = logging.getLogger("lanhaven.listener")


class Cycle(RequestResponseCycle):
    """The server's side of one request. `task` runs the application for it."""

    task: asyncio.Task[None] | None = None
    lingering = False  # answered before its body had arrived
    endless = False  # a reply without a length, to HTTP/1.0, which has no chunks: it ends with its connection
    head = b""  # of the reply, until it is written
    # How each begins: what a request does not change costs it nothing.
    disconnected = False
    body: Any = b""  # what came of it and was not taken; uvicorn has a bytearray, and copies it
    more_body = True
    response_started = False
    response_complete = False
    chunked_encoding: bool | None = None
    expected_content_length = 0

    def __init__(
        self,
        scope: HTTPScope,
        transport: asyncio.Transport,
        flow: FlowControl,
        default_headers: Headers,
        on_response: Callable[[], None],
        *,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        self.scope = scope
        self.transport = transport
        self.flow = flow
        self.default_headers = default_headers
        self.on_response = on_response
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = expects_continue
        self.message_event = asyncio.Event()

    async def receive(self) -> ASGIReceiveEvent:
        """As uvicorn's; a body that is there whole is given at once."""
        body = self.body
        if not body or self.more_body or self.waiting_for_100_continue or self.disconnected or self.response_complete:
            return await super().receive()
        if self.flow.read_paused:
            self.flow.resume_reading()
        self.message_event.clear()
        self.body = b""
        return {"type": "http.request", "body": body, "more_body": False}

    def leave(self) -> None:
        """The client is gone: cancel the application's task, unless its answer is complete already.

        This is how every phase of a request (body, queue, load, prefill, stream) learns of it: Starlette lets a
        non-streaming handler run on after its client left (measured: the engine still computed 3 s later), uvicorn
        only sets a flag. Cancels once: a second one would cut the application's own clean-up short.
        """
        if self.disconnected or self.response_complete:
            return
        self.disconnected = True
        self.message_event.set()
        if self.task is not None:
            self.task.cancel("the client left")

    def send(self, message: ASGISendEvent) -> Coroutine[Any, Any, None]:
        """As uvicorn's; an answer that comes before the end of the body ends the connection (F-089, F-147)."""
        if self.transport.is_closing():
            return self._unheard()
        if not self.response_started:
            if self.more_body:
                self.lingering, self.keep_alive = True, False
            return self._send_head(message)
        if self.lingering:
            # The head said "connection: close". The protocol closes, not uvicorn: an immediate close with unread bytes
            # makes the kernel send a reset, which can take the answer from the client (RFC 9112, 9.6).
            self.keep_alive = True
        return self._send_body(message)

    async def _unheard(self) -> None:
        """The connection broke, but its loss is yet to be told. An application that writes in a loop would never let it
        be told: writing to a broken connection waits for nothing."""
        self.leave()
        await asyncio.sleep(0)

    async def _send_head(self, message: Any) -> None:
        """The status line and the headers. uvicorn's way costs two regular expressions per header, 7 us per reply."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if message["type"] != "http.response.start":
            raise RuntimeError(f"the reply must begin with its head, not with {message['type']}")
        status: int = message["status"]
        headers = [*self.default_headers, *message.get("headers", ())]
        said = dict(headers)
        length, chunked = said.get(b"content-length"), b"transfer-encoding" in said
        if b"connection" in said and b"close" in said[b"connection"].lower():
            self.keep_alive = False
        elif not self.keep_alive:
            headers.append((b"connection", b"close"))
        if length is None and not chunked and self.scope["method"] != "HEAD" and status not in {204, 304}:
            self.endless = self.scope["http_version"] == "1.0"
            chunked = not self.endless
            if chunked:
                headers.append((b"transfer-encoding", b"chunked"))
        head = STATUS_LINE[status] + b"\r\n".join([*map(b": ".join, headers), b"", b""])
        ends = len(headers) + 2
        if head.count(b"\n") != ends or head.count(b"\r") != ends or b"\0" in head:
            raise RuntimeError("a header of the reply holds a line break")
        self.response_started, self.waiting_for_100_continue = True, False
        self.expected_content_length, self.chunked_encoding = int(length or 0), chunked
        self.head = head
        if chunked or self.endless:
            asyncio.get_running_loop().call_soon(self._flush_head)

    def _flush_head(self) -> None:
        """The head goes out with the first of the body, in one write: a second one costs 10 us here and wakes the
        client twice. Should a stream take its time, the head does not wait for it."""
        head, self.head = self.head, b""
        if head and not self.transport.is_closing():
            self.transport.write(head)

    async def _send_body(self, message: Any) -> None:
        """A part of the body. uvicorn's way writes the head by itself."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if self.response_complete or message["type"] != "http.response.body":
            raise RuntimeError(f"no {message['type']} may follow here")
        more: bool = message.get("more_body", False)
        data = self._framed(message.get("body", b""), more=more)
        head, self.head = self.head, b""
        if head or data:
            self.transport.write(head + data if head else data)
        if not more:
            self._complete()

    def _framed(self, body: bytes, *, more: bool) -> bytes:
        """The bytes on the wire."""
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
            return b""
        if self.chunked_encoding:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return chunk if more else chunk + b"0\r\n\r\n"
        if self.endless:
            return body
        self.expected_content_length -= len(body)
        if self.expected_content_length < 0:
            raise RuntimeError("the reply is longer than its Content-Length")
        return body

    def _complete(self) -> None:
        if self.expected_content_length != 0:
            raise RuntimeError("the reply is shorter than its Content-Length")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    async def run_asgi(self, app: ASGI3Application) -> None:
        """Run the application. Whatever it raises, the client sees a whole reply or a cut one, no trace (F-185)."""
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            if self.task is None or self.task.cancelling():
                if not self.disconnected:
                    self.transport.close()  # called off by the shutdown
                raise
            await self._fail("the application was cancelled from within", None)
        except Exception as error:  # noqa: BLE001 - the last resort: the application has its own before this one
            await self._fail("the application failed", error)
        else:
            if not self.response_complete and not self.disconnected:
                await self._fail("the application ended without completing its reply", None)
        finally:
            self.on_response = _nothing  # breaks the reference cycle with the protocol

    async def _fail(self, reason: str, error: Exception | None) -> None:
        request_id = self.scope.get("lanhaven.request_id") or new_request_id()
        if self.disconnected:
            log.debug("%s after its client left: %s", reason, request_id, exc_info=error)
            return
        log.error("%s: %s", reason, request_id, exc_info=error)
        if self.response_complete:
            return
        if self.response_started:
            self.transport.close()  # short of its length or without its last chunk: the client can tell
            return
        body = error_body("Internal server error")
        headers: Headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", str(request_id).encode()),
            *SECURITY_HEADERS,
        ]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


def _nothing() -> None:
    return None
