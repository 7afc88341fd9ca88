"""The connections to one address: idle ones, last used first, and how many are open."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Callable
from time import monotonic

from lanhaven.errors import ProviderUnavailable
from lanhaven.upstream.address import Address
from lanhaven.upstream.connection import Connection

IDLE_CONNECTIONS = 32  # kept per address
LINGER = 1.0  # seconds for the end of a body whose last frame has been read


class Endpoint:
    """Opens connections to one address and keeps the idle ones."""

    __slots__ = ("_idle", "_keep", "_open", "_tls", "address")

    def __init__(self, address: Address, keep: float, tls: Callable[[], ssl.SSLContext]) -> None:
        self.address = address
        self._keep = keep
        self._tls = tls
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()

    @property
    def open(self) -> int:
        """Connections, those being made included."""
        return len(self._open)

    @property
    def idle(self) -> int:
        return len(self._idle)

    def take(self) -> Connection | None:
        """The idle connection used last, which is the least likely to be stale."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        return None

    async def connect(self, timeout: float, model: str) -> Connection:
        """A new connection. ProviderUnavailable, with facts {"connect": True}: no request was written."""
        loop = asyncio.get_running_loop()
        connection = Connection(loop, self._lost)
        made = False
        self._open.add(connection)  # before: the upstream may close it before we hear that it was made
        try:
            async with asyncio.timeout(timeout):
                await self._open_socket(loop, connection)
        except TimeoutError:
            raise _unreachable(model, "does not answer") from None
        except ssl.SSLCertVerificationError:
            raise _unreachable(model, "has a TLS certificate that cannot be verified") from None
        except OSError as error:
            refused = isinstance(error, ConnectionRefusedError | FileNotFoundError)
            raise _unreachable(model, "is not running" if refused else "cannot be reached") from None
        else:
            made = True
            return connection
        finally:
            if not made:
                self._open.discard(connection)

    async def _open_socket(self, loop: asyncio.AbstractEventLoop, connection: Connection) -> None:
        address = self.address
        if address.socket is None:
            await loop.create_connection(
                lambda: connection, address.host, address.port, ssl=self._tls() if address.tls else None
            )
        elif sys.platform == "win32":
            raise OSError("no unix sockets here")
        else:
            await loop.create_unix_connection(lambda: connection, address.socket)

    def give_back(self, connection: Connection, *, reuse: bool) -> None:
        """Keep the connection if its reply was read to its end, or will have been in a moment; else close it."""
        if not reuse or connection.closed or connection.failure is not None:
            connection.abort()
        elif connection.done:
            self._put(connection)
        else:
            # The last frame was read, the end of the body is still on its way: often in the very next packet.
            connection.since = monotonic()
            connection.on_done = self._put

    def _put(self, connection: Connection) -> None:
        connection.on_done = None
        if not connection.reusable or self._keep <= 0 or len(self._idle) >= IDLE_CONNECTIONS:
            connection.abort()
            return
        connection.since = monotonic()
        self._idle.append(connection)

    def sweep(self, now: float) -> None:
        """Close what has been idle, or has lingered, too long."""
        for connection in [each for each in self._open if each.on_done is not None and now - each.since > LINGER]:
            connection.abort()
        while self._idle and (self._idle[0].closed or now - self._idle[0].since > self._keep):
            self._idle.pop(0).abort()

    def close(self) -> None:
        for connection in tuple(self._open):
            connection.abort()
        self._idle.clear()

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def __repr__(self) -> str:
        return f"Endpoint(open={self.open} idle={self.idle})"


def _unreachable(model: str, how: str) -> ProviderUnavailable:
    return ProviderUnavailable(f"The server of model {model!r} {how}.", retry_after=2.0, facts={"connect": True})
