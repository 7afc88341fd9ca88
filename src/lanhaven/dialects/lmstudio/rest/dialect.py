"""LM Studio's REST API, /api/v1, and the two probes by which its clients find a server.

GET  /lmstudio-greeting, /lms-status               need no key: clients probe without one, for a second at most
GET  /api/v1/models
POST /api/v1/models/load, /unload, /download       GET /api/v1/models/download/status/{job_id}
POST /api/v1/chat                                  chat.py
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lanhaven import __version__
from lanhaven.dialects.base import SSE, Call, Dialect, DialectContext, Handler
from lanhaven.dialects.lmstudio.rest.chat import Chat
from lanhaven.dialects.lmstudio.rest.errors import error_object
from lanhaven.dialects.lmstudio.rest.models import v1_list
from lanhaven.dialects.lmstudio.rest.orders import DOWNLOADS, Orders
from lanhaven.errors import GatewayError
from lanhaven.wire import KEEP_ALIVE, encode, sse

GREETING = b'{"lmstudio":true}'
ROOT = "/api/v1"


class LMStudioDialect(Dialect):
    """See the module."""

    name = "lmstudio"
    stream_headers = SSE
    keep_alive = KEEP_ALIVE

    def __init__(self, context: DialectContext) -> None:
        self._gateway = context.gateway
        self._orders = Orders(context)
        self._chat = Chat(context)

    @classmethod
    def create(cls, context: DialectContext) -> LMStudioDialect:
        """For the registry."""
        return cls(context)

    def routes(self) -> Mapping[str, Mapping[str, Handler]]:
        """Path -> method -> handler."""
        orders = self._orders
        return {
            "/lmstudio-greeting": {"GET": self._greet, "HEAD": self._greet},
            "/lms-status": {"GET": self._status, "HEAD": self._status},
            f"{ROOT}/models": {"GET": self._models, "HEAD": self._models},
            f"{ROOT}/models/load": {"POST": orders.load},
            f"{ROOT}/models/unload": {"POST": orders.unload},
            f"{ROOT}/models/download": {"POST": orders.download},
            DOWNLOADS: {"GET": orders.download_status, "HEAD": orders.download_status},
            f"{ROOT}/chat": {"POST": self._chat.serve},
        }

    def error_body(self, error: GatewayError, request_id: str) -> bytes:
        """LM Studio's envelope."""
        return encode({"error": error_object(error)})

    def error_frame(self, error: GatewayError, request_id: str) -> bytes:
        """An `error` event."""
        event: dict[str, Any] = {"type": "error", "error": error_object(error)}
        return sse(encode(event), "error")

    async def _greet(self, call: Call) -> None:
        await call.reply(200, GREETING)

    async def _status(self, call: Call) -> None:
        await call.reply(200, encode({"package": "lanhaven", "version": __version__}))

    async def _models(self, call: Call) -> None:
        await call.reply(200, encode(v1_list(self._gateway, call.key_name, call.headers)))
