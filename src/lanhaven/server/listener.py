"""The listener: sockets, signals, and the order of going down.

uvicorn's `Server` is not used: it polls ten times a second, and its shutdown either waits for ever for an open stream
or cuts it without a last frame (measured: still running after 15 s with one event stream open). Its protocol and its
configuration are.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any

from uvicorn import Config
from uvicorn.server import ServerState

from lanhaven.server.limits import ListenerLimits
from lanhaven.server.protocol import HttpProtocol
from lanhaven.server.shutdown import Shutdown, signals
from lanhaven.server.sockets import Address, bind, bound_address, with_spare_ports
from lanhaven.server.tls import TlsDoor, only_https
from lanhaven.server.websocket import SocketProtocol

__all__ = ["Listener", "everybody", "run", "running", "serve", "with_spare_ports"]

log = logging.getLogger("lanhaven.listener")

ASGI = Callable[..., Coroutine[Any, Any, None]]
Ready = Callable[[tuple[Address, ...]], None]
Tls = Callable[[], ssl.SSLContext]


def everybody(address: str) -> bool:
    """The rule "any address may connect"."""
    return True


async def serve(
    app: ASGI,
    listen: Sequence[Address | socket.socket],
    limits: ListenerLimits | None = None,
    *,
    on_ready: Ready | None = None,
    shutdown: Shutdown | None = None,
    admits: Callable[[str], bool] = everybody,
    tls: Tls | None = None,
) -> None:
    """Serve until a signal comes or `shutdown.begin` is called; returns when the last connection is closed.

    on_ready: gets the addresses that were really bound, in the order of `listen`.
    admits: whether a client address may connect at all (see security.Security.admits_peer).
    tls: the context for a new connection; None = plain HTTP.
    Raises ListenError if an address cannot be had.
    """
    limits = limits or ListenerLimits()
    shutdown = shutdown or Shutdown()
    listener = Listener(app, limits, shutdown, admits, tls)
    with signals(shutdown, limits.shutdown_timeout):
        bound = await listener.start(listen)
        try:
            if on_ready is not None:
                on_ready(bound)
            await shutdown.wait_begun()
        except BaseException:
            shutdown.begin("the listener was cancelled, or not wanted")
            shutdown.hurry()
            raise
        finally:
            await listener.stop()


@asynccontextmanager
async def running(
    app: ASGI,
    limits: ListenerLimits | None = None,
    *,
    shutdown: Shutdown | None = None,
    admits: Callable[[str], bool] = everybody,
    host: str = "127.0.0.1",
    tls: Tls | None = None,
) -> AsyncIterator[str]:
    """Serve inside this process, on a free port; gives the base URL. For tests and embedding: takes no signals."""
    shutdown = shutdown or Shutdown()
    listener = Listener(app, limits or ListenerLimits(), shutdown, admits, tls)
    (address, *_) = await listener.start([Address(host, 0)])
    try:
        yield address.url
    finally:
        shutdown.begin("the context ended")
        shutdown.hurry()
        await listener.stop()


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` on the fastest event loop there is here."""
    if sys.platform == "win32":
        asyncio.run(main)
        return
    import uvloop

    uvloop.run(main)


class Listener:
    """Accepts connections for one application on any number of sockets."""

    def __init__(
        self,
        app: ASGI,
        limits: ListenerLimits,
        shutdown: Shutdown,
        admits: Callable[[str], bool],
        tls: Tls | None = None,
    ) -> None:
        self._limits = limits
        self._admits = admits
        self._tls = tls
        self._shutdown = shutdown
        self._config = Config(
            app, interface="asgi3", lifespan="off", ws="websockets-sansio", log_config=None, access_log=False,
            proxy_headers=False, server_header=False, loop="none", ws_ping_interval=limits.socket_ping,
            ws_ping_timeout=limits.write_stall, ws_per_message_deflate=False,
        )  # fmt: skip
        self._config.load()
        self._config.ws_protocol_class = functools.partial(SocketProtocol, limits=limits)  # type: ignore[assignment]
        self._state = ServerState()
        self._servers: list[asyncio.Server | TlsDoor] = []
        self._clock: asyncio.TimerHandle | None = None
        self._protocol = functools.partial(
            HttpProtocol,
            self._config,
            self._state,
            {},
            limits=limits,
            admits=admits,
            draining=lambda: shutdown.draining,
        )

    def __repr__(self) -> str:
        return (
            f"Listener({len(self._state.connections)} connections, {len(self._state.tasks)} requests, {self._shutdown})"
        )

    async def start(self, listen: Sequence[Address | socket.socket]) -> tuple[Address, ...]:
        """Bind and accept; either all addresses or none."""
        raise_file_limit(self._limits.max_connections)
        sockets: list[socket.socket] = []
        try:
            for each in listen:
                sockets += bind(each) if isinstance(each, Address) else [each]
            loop = asyncio.get_running_loop()
            self._tick(loop)
            for sock in sockets:
                self._servers.append(await self._open(sock, loop))
        except BaseException:
            for sock in sockets:
                sock.close()
            raise
        return tuple(bound_address(sock, tls=self._tls is not None) for sock in sockets)

    async def _open(self, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> asyncio.Server | TlsDoor:
        protocol = functools.partial(self._protocol, loop)
        if self._tls is None:
            return await loop.create_server(protocol, sock=sock, backlog=self._limits.backlog)

        def plain() -> HttpProtocol:
            made = protocol()
            made.app, made.ws_protocol_class = only_https, None
            return made

        return TlsDoor(
            sock, self._tls, encrypted=protocol, plain=plain, limits=self._limits, admits=self._admits,
            open_connections=self._state.connections,
        )  # fmt: skip

    async def stop(self) -> None:
        """Drain, abort, cancel, close: each for a bounded time; nothing of ours runs afterwards."""
        for connection in tuple(self._state.connections):
            connection.shutdown()
        await self._settle(self._limits.drain_timeout, hurried=0.0)
        self._shutdown.abort()
        for connection in tuple(self._state.connections):
            if isinstance(connection, SocketProtocol):
                connection.abort()
        await self._settle(self._limits.abort_grace, hurried=0.5)
        for server in self._servers:
            server.close()
        for task in tuple(self._state.tasks):
            task.cancel("the server goes down")
        if self._state.tasks:
            await asyncio.wait(tuple(self._state.tasks), timeout=0.3)
        await self._close_connections()
        if self._clock is not None:
            self._clock.cancel()

    async def _settle(self, seconds: float, hurried: float) -> None:
        """Until no request runs, or `seconds` are over; once somebody hurries us, `hurried` seconds more at most."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        hurry = loop.create_task(self._shutdown.wait_hurried())
        try:
            while self._state.tasks and (left := until - loop.time()) > 0:
                waited = self._state.tasks if hurry.done() else {*self._state.tasks, hurry}
                done, _ = await asyncio.wait(waited, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if hurry in done:
                    until = min(until, loop.time() + hurried)
        finally:
            hurry.cancel()

    async def _close_connections(self) -> None:
        """What is written may still leave; then the connections are cut."""
        loop = asyncio.get_running_loop()
        until = loop.time() + 0.2
        for connection in tuple(self._state.connections):
            connection.transport.close()
        while self._state.connections and loop.time() < until:  # noqa: ASYNC110 - it ends by itself
            await asyncio.sleep(0.01)  # at most twenty times
        for connection in tuple(self._state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # lets connection_lost run

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        self._clock = loop.call_later(1.0, self._tick, loop)


def raise_file_limit(connections: int) -> None:
    """Room for as many connections as are allowed, and as many upstream ones: macOS starts processes with 256 files."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections + 256
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
