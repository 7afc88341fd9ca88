"""uvicorn's WebSocket protocol, hardened like the HTTP one: nothing is held without end, no frame is logged, and a
server that goes down asks the application before it cuts.

uvicorn 0.54 itself (read) closes every socket at the first sign of a shutdown, never aborts a client that stopped
reading, keeps any number of tiny fragments, and at the level debug logs what the frames hold.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from uvicorn._types import ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame

from lanhaven.server.limits import ListenerLimits
from lanhaven.server.output import OutputGuard
from lanhaven.server.replies import raw_refusal

log = logging.getLogger("lanhaven.listener")
# uvicorn would log a traceback for each text that is no UTF-8, and `websockets` each frame: nobody is to read those.
_silent = logging.getLogger("lanhaven.listener.frames")
_silent.setLevel(logging.CRITICAL + 1)

DRAIN: dict[str, Any] = {"type": "lanhaven.drain"}  # an event of our own: no new work, and close when what runs is done
MAX_FRAGMENTS = 4096
MOST_UNSENT = 1 << 20  # bytes of control frames and leftovers that wait for a client


class SocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket connection. The application reads it all the time: an unread one takes nothing from its client."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: ListenerLimits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.limits = limits
        self.logger = self.conn.logger = _silent
        self.conn.debug = False  # else each frame is logged, prompts and all
        self.conn.max_message_size = limits.max_message_bytes
        self.task: asyncio.Task[None] | None = None
        self.output = OutputGuard(self.loop, limits.write_stall)

    # ---- the connection

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone; the application reads of it."""
        self.output.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server goes down: the application ends what runs, then it closes."""
        if self.handshake_complete and not self.close_sent and not self.disconnected:
            self.queue.put_nowait(DRAIN)  # type: ignore[arg-type]
        elif self.close_sent or not self.handshake_initiated:
            self.transport.close()
            self.output.watch(self.transport, self.client)

    def abort(self) -> None:
        """The time to drain is over: what runs is cut; the application may say so to its client first."""
        if self.task is not None and not self.disconnected:
            self.task.cancel("the server goes down")

    # ---- input

    def data_received(self, data: bytes) -> None:
        """Feed the parser; a client that sends (pings, say) but reads nothing is let go."""
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            # `websockets` reads the head again with limits of its own (8 KiB a line), and then says nothing at all.
            self.close_sent = True
            self.transport.write(raw_refusal(400, "Malformed WebSocket offer", self.default_headers))
            self.transport.close()
        if self.transport.get_write_buffer_size() > MOST_UNSENT + self.limits.max_message_bytes:
            self.transport.abort()

    def handle_ping(self) -> None:
        """Its pong; not beside a heap of others that nobody takes."""
        super().handle_ping()
        if not self.writable.is_set() and self.transport.get_write_buffer_size() > MOST_UNSENT:
            self.transport.abort()

    def handle_cont(self, event: Frame) -> None:
        """A piece of a message: in bytes they are bounded, but ten million empty ones take their memory too."""
        if len(self.frames) >= MAX_FRAGMENTS:
            self.conn.fail(1009, "too many fragments")
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.abort()
            return
        super().handle_cont(event)

    # ---- output

    def pause_writing(self) -> None:
        """The client takes less than is written: the application waits from here on."""
        super().pause_writing()
        self.output.watch(self.transport, self.client)

    def resume_writing(self) -> None:
        """The client took what waited for it."""
        super().resume_writing()
        self.output.clear()

    def keepalive_timeout(self) -> None:
        """No pong came: the peer is gone, or its network is."""
        super().keepalive_timeout()
        self.output.watch(self.transport, self.client)

    async def send(self, message: ASGISendEvent) -> None:
        """As uvicorn's; a close whose echo does not come is cut after a bounded time, though bytes wait."""
        await self.writable.wait()
        if self.close_sent:
            raise ClientDisconnected
        await super().send(message)
        if message["type"] == "websocket.close":
            self.output.watch(self.transport, self.client)

    # ---- the application

    async def run_asgi(self) -> None:
        """Run the application. Whatever it raises, the client sees a refused or a closed connection, and no trace."""
        self.task = asyncio.current_task()
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("the application of a WebSocket failed")
        finally:
            self.task = None
            self.send_500_response()  # only where nothing was answered yet
            if self.close_timer is None:
                self.transport.close()
                self.output.watch(self.transport, self.client)
