"""What the listener tolerates, in seconds, bytes and counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lanhaven.config import Settings


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """Timers and bounds of one listener. The defaults are the documented ones (docs/security.md)."""

    header_timeout: float = 10.0  # from connecting, or from a request's first byte, to the end of its head
    body_idle: float = 30.0  # between two pieces of a body
    body_total: float = 120.0  # for a whole body; time that we do not read in is not counted
    keep_alive: float = 30.0  # a connection without a request
    write_stall: float = 60.0  # a client that takes nothing of what is written to it
    linger: float = 1.0  # a refused client may read our answer while it still sends
    drain_timeout: float = 30.0  # requests may finish after the first signal
    abort_grace: float = 5.0  # then streams may write their last frame
    shutdown_timeout: float = 45.0  # then the process ends, whatever hangs
    max_header_bytes: int = 64 << 10
    max_headers: int = 100
    max_url_bytes: int = 8 << 10
    max_pipelined: int = 32
    max_message_bytes: int = 32 << 20  # of a WebSocket
    socket_ping: float = 20.0  # between two pings of a WebSocket
    max_connections: int = 10_000
    backlog: int = 512

    @classmethod
    def from_settings(cls, settings: Settings) -> ListenerLimits:
        """The limits that the settings name; the rest as documented."""
        return cls(
            header_timeout=settings.header_timeout,
            body_idle=settings.body_idle,
            body_total=settings.body_total,
            keep_alive=settings.http_keep_alive,
            write_stall=settings.write_stall,
            drain_timeout=settings.drain_timeout,
            shutdown_timeout=settings.shutdown_timeout,
            max_message_bytes=settings.max_body_bytes,
            max_connections=settings.max_connections,
        )
