"""Connections under TLS: who may not come in is turned away before a handshake, which costs a millisecond of CPU.

asyncio's own `create_server(ssl=...)` shakes hands with everybody and counts nobody, and closes without a word on a
client that speaks plain HTTP. So connections are accepted here, looked at by their first byte, and handed on.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import sys
from collections.abc import Callable, Sized
from contextlib import suppress
from typing import Any

from lanhaven.server.limits import ListenerLimits
from lanhaven.server.replies import error_body

log = logging.getLogger("lanhaven.listener")

HANDSHAKE = b"\x16"  # the first byte of TLS: a record of the handshake (RFC 8446, 5.1); no HTTP method begins with it
ACCEPT_PAUSE = 1.0  # seconds, when the system has no more files for connections: what asyncio's own servers wait

Protocols = Callable[[], asyncio.Protocol]


class TlsDoor:
    """Accepts for one listening socket. `context` is asked for each connection: a renewed certificate counts at once.

    encrypted, plain: make the protocol for a connection that speaks TLS, and for one that does not.
    open_connections: those that are counted already; handshakes under way are added to them.
    """

    def __init__(
        self,
        sock: socket.socket,
        context: Callable[[], ssl.SSLContext],
        *,
        encrypted: Protocols,
        plain: Protocols,
        limits: ListenerLimits,
        admits: Callable[[str], bool],
        open_connections: Sized,
    ) -> None:
        self._sock = sock
        self._context = context
        self._encrypted = encrypted
        self._plain = plain
        self._limits = limits
        self._admits = admits
        self._open = open_connections
        self._greeting: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        sock.listen(limits.backlog)
        self._accepting = self._loop.create_task(self._accept())

    def __repr__(self) -> str:
        return f"TlsDoor({self._sock.getsockname()}, {len(self._greeting)} handshakes)"

    def close(self) -> None:
        """Take no more connections, and give up on those that have not shaken hands."""
        self._accepting.cancel()
        for task in self._greeting:
            task.cancel()
        self._sock.close()

    async def _accept(self) -> None:
        while True:
            try:
                sock, address = await self._loop.sock_accept(self._sock)
            except ConnectionAbortedError:
                continue  # it left before its turn
            except OSError as error:
                log.exception("cannot accept connections: %s", error.strerror)
                await asyncio.sleep(ACCEPT_PAUSE)
                continue
            if not self._admits(str(address[0])) or self._full():
                sock.close()
                continue
            sock.setblocking(False)
            task = self._loop.create_task(self._greet(sock))
            self._greeting.add(task)
            task.add_done_callback(self._greeting.discard)

    def _full(self) -> bool:
        return len(self._open) + len(self._greeting) >= self._limits.max_connections

    async def _greet(self, sock: socket.socket) -> None:
        """From the first byte to a connection that is somebody else's business. Bounded in time."""
        handed_on = False
        try:
            async with asyncio.timeout(self._limits.header_timeout):
                first = await self._first_byte(sock)
            if first == HANDSHAKE:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                handed_on = True
                await self._loop.connect_accepted_socket(self._encrypted, sock, **self._tls())
            elif first:
                handed_on = True
                await self._loop.connect_accepted_socket(self._plain, sock)
        except (
            OSError,
            TimeoutError,
        ) as error:  # an SSLError is an OSError: no common cipher, an unknown CA, a scanner
            log.debug("no TLS connection: %s", error)
        finally:
            if not handed_on:
                sock.close()

    def _tls(self) -> dict[str, Any]:
        return {
            "ssl": self._context(),
            "ssl_handshake_timeout": self._limits.header_timeout,
            "ssl_shutdown_timeout": self._limits.linger + 1.0,  # nobody owes us a farewell
        }

    async def _first_byte(self, sock: socket.socket) -> bytes:
        """Without taking it. Empty if the client left. Windows' own loop cannot wait for it: there all must be TLS."""
        if sys.platform == "win32":
            return HANDSHAKE
        readable = self._loop.create_future()
        self._loop.add_reader(sock, _settle, readable)
        try:
            await readable
        finally:
            self._loop.remove_reader(sock)
        with suppress(OSError):
            return sock.recv(1, socket.MSG_PEEK)
        return b""


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def only_https(scope: Any, receive: Any, send: Any) -> None:
    """Answers plain HTTP at a TLS port: a browser that a person pointed here is sent on, a program is told."""
    headers = dict(scope["headers"])
    here = b"https://" + headers.get(b"host", b"")  # the listener has judged it
    reply = [(b"content-type", b"application/json"), (b"cache-control", b"no-store"), (b"connection", b"close")]
    told = f"This server speaks HTTPS here: use {here.decode('latin-1')}"
    status, body = 400, error_body(told, "write https:// in the address")
    if scope["method"] in {"GET", "HEAD"} and b"text/html" in headers.get(b"accept", b""):
        status, body = 307, b""
        query = scope["query_string"]
        reply.append((b"location", here + scope["raw_path"] + (b"?" + query if query else b"")))
    reply.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": reply})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
