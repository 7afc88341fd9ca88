"""LM Studio's WebSocket protocol: one connection a namespace, at `/llm`, `/embedding`, `/system` and so on.

first frame      auth: who is it, may it come in
then             connection: calls and channels, each to an endpoint of the namespace
the endpoints    models, load, system, predict, text, files, repository, diagnostics
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from lanhaven.dialects.base import DialectContext, user_agent
from lanhaven.dialects.lmstudio.models import EMBEDDING, LLM
from lanhaven.dialects.lmstudio.ws import (
    diagnostics,
    files,
    load,
    models,
    predict,
    repository,
    system,
    text,
)
from lanhaven.dialects.lmstudio.ws.auth import PATIENCE, Clients, Introduction, Scopes, introduced, refusal
from lanhaven.dialects.lmstudio.ws.connection import Connection
from lanhaven.dialects.lmstudio.ws.endpoint import Namespace, Peer, Shared
from lanhaven.dialects.lmstudio.ws.wire import Message, Receive, Send, Wire
from lanhaven.errors import GatewayError

Handler = Callable[[Message, Receive, Send], Awaitable[None]]

REFUSED = 1008
NAMESPACES: tuple[Namespace, ...] = (
    Namespace(
        LLM,
        {**models.rpcs(LLM), **text.LLM_RPCS},
        {**load.channels(LLM), **predict.CHANNELS},
    ),
    Namespace(
        EMBEDDING,
        {**models.rpcs(EMBEDDING), **text.EMBEDDING_RPCS},
        load.channels(EMBEDDING),
    ),
    Namespace("system", system.RPCS, system.CHANNELS, frozenset({"alive"})),
    Namespace("files", files.RPCS, files.CHANNELS),
    Namespace("repository", repository.RPCS, repository.CHANNELS),
    Namespace("diagnostics", {}, diagnostics.CHANNELS, frozenset({"streamLogs"})),
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
        self, scope: Message, who: Introduction, wire: Wire, key_name: str | None, scopes: Scopes
    ) -> Connection:
        namespace = self._namespaces[scope["path"]]
        request_id: str = scope["lanhaven.request_id"]
        peer = Peer(self._context, self._state, namespace.name, who.identifier, request_id, key_name, scopes)
        peer.address = scope["client"][0] if scope.get("client") else None
        peer.user_agent, peer.headers = user_agent(scope["headers"]), scope["headers"]
        return Connection(namespace, peer, wire)


def sockets(context: DialectContext) -> Mapping[str, Handler]:
    """For the registry: path -> handler."""
    return LMStudioSockets(context).paths()
