"""A client that stops reading: what waits for it may not wait for ever."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from lanhaven.server.deadline import Deadline

log = logging.getLogger("lanhaven.listener")


class OutputGuard:
    """Cuts a connection that takes none of the bytes that wait for it in `seconds`. One that is slow may go on."""

    __slots__ = ("_client", "_deadline", "_seconds", "_transport", "_unsent")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._deadline = Deadline(loop, self._expired)
        self._seconds = seconds
        self._unsent = 0
        self._transport: asyncio.Transport | None = None
        self._client: Any = None

    def watch(self, transport: asyncio.Transport, client: Any) -> None:
        """From now on; `client` is who the log says it was."""
        self._transport, self._client = transport, client
        self._unsent = unsent(transport)
        if self._unsent:
            self._deadline.set(self._seconds)

    def clear(self) -> None:
        """The client took what waited for it."""
        self._deadline.clear()

    def cancel(self) -> None:
        """The connection is over."""
        self._deadline.cancel()
        self._transport = None

    def _expired(self) -> None:
        transport = self._transport
        left = unsent(transport) if transport is not None else 0
        if transport is None or not left:
            return
        if left < self._unsent:
            self.watch(transport, self._client)  # slow, but it reads
        else:
            log.info("a client stopped reading: %s", self._client)
            transport.abort()


def unsent(transport: asyncio.Transport) -> int:
    """Bytes that wait to be written."""
    try:
        return transport.get_write_buffer_size()
    except AttributeError:  # asyncio's own TLS transport, once it was closed twice (3.11, sslproto.py): all is lost
        return 0
