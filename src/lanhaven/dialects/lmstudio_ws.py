"""LM Studio's WebSocket protocol: one connection a namespace, at `/llm`, `/embedding`, `/system` and so on.

first frame      lmstudio_ws_auth: who is it, may it come in
then             lmstudio_ws_connection: calls and channels, each to an endpoint of the namespace
the endpoints    lmstudio_ws_models, _load, _system; lmstudio_predict, _text, _files, _repository, _diagnostics
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from lanhaven.dialects import (
    lmstudio_diagnostics,
    lmstudio_files,
    lmstudio_predict,
    lmstudio_repository,
    lmstudio_text,
    lmstudio_ws_load,
    lmstudio_ws_models,
    lmstudio_ws_system,
)
from lanhaven.dialects.base import DialectContext
from lanhaven.dialects.lmstudio_endpoint import Namespace, Peer, Shared
from lanhaven.dialects.lmstudio_models import EMBEDDING, LLM
from lanhaven.dialects.lmstudio_ws_auth import PATIENCE, Clients, Introduction, introduced, refusal
from lanhaven.dialects.lmstudio_ws_connection import Connection
from lanhaven.dialects.lmstudio_ws_wire import Message, Receive, Send, Wire
from lanhaven.errors import GatewayError

Handler = Callable[[Message, Receive, Send], Awaitable[None]]

REFUSED = 1008
NAMESPACES: tuple[Namespace, ...] = (
    Namespace(
        LLM,
        {**lmstudio_ws_models.rpcs(LLM), **lmstudio_text.LLM_RPCS},
        {**lmstudio_ws_load.channels(LLM), **lmstudio_predict.CHANNELS},
    ),
    Namespace(
        EMBEDDING,
        {**lmstudio_ws_models.rpcs(EMBEDDING), **lmstudio_text.EMBEDDING_RPCS},
        lmstudio_ws_load.channels(EMBEDDING),
    ),
    Namespace("system", lmstudio_ws_system.RPCS, lmstudio_ws_system.CHANNELS, frozenset({"alive"})),
    Namespace("files", lmstudio_files.RPCS, lmstudio_files.CHANNELS),
    Namespace("repository", lmstudio_repository.RPCS, lmstudio_repository.CHANNELS),
    Namespace("diagnostics", {}, lmstudio_diagnostics.CHANNELS, frozenset({"streamLogs"})),
    Namespace("plugins"),
    Namespace("runtime"),
)


class LMStudioSockets:
    """The WebSockets of one server."""

    def __init__(self, context: DialectContext, *, patience: float = PATIENCE) -> None:
        self._context = context
        self._patience = patience
        self._state = Shared(context)
        self._clients = Clients()
        self._namespaces = {f"/{each.name}": each for each in NAMESPACES}

    def __repr__(self) -> str:
        return f"LMStudioSockets({self._clients})"

    def paths(self) -> Mapping[str, Handler]:
        """Path -> who serves a WebSocket there. Its scope holds "lanhaven.admit" and "lanhaven.request_id"."""
        return dict.fromkeys(self._namespaces, self._serve)

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        wire = Wire(receive, send)
        if not await wire.accept():
            return
        who = await introduced(wire, self._patience)
        if who is None:
            await wire.close(REFUSED, "no introduction came")
            return
        try:
            key_name, scopes = scope["lanhaven.admit"](who.token)
            with self._clients.connected(who):
                await wire.send({"success": True})
                await self._connection(scope, who, wire, key_name, scopes).run()
        except GatewayError as error:
            await wire.send(refusal(error))
            await wire.close(REFUSED, "refused")

    def _connection(
        self, scope: Message, who: Introduction, wire: Wire, key_name: str | None, scopes: frozenset[str]
    ) -> Connection:
        namespace = self._namespaces[scope["path"]]
        request_id: str = scope["lanhaven.request_id"]
        peer = Peer(self._context, self._state, namespace.name, who.identifier, request_id, key_name, scopes)
        return Connection(namespace, peer, wire)


def sockets(context: DialectContext) -> Mapping[str, Handler]:
    """For the registry: path -> handler."""
    return LMStudioSockets(context).paths()
