"""What the endpoints of LM Studio's WebSocket protocol are written as: calls, channels, and the connection they serve.

A file of endpoints exports `RPCS: Mapping[str, Rpc]` and `CHANNELS: Mapping[str, ChannelHandler]`, by the endpoints'
names; `sockets` puts them into namespaces. Handlers raise GatewayErrors (`lmstudio.errors` words them, and makes
those that LM Studio's clients know by a code); whatever they run in is cancelled when the connection ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lanhaven.dialects.base import DialectContext, Headers
from lanhaven.errors import Forbidden
from lanhaven.types.chat import InferenceRequest, Route
from lanhaven.types.models import Instance
from lanhaven.wire import encode

T = TypeVar("T")

INFERENCE, ADMIN, DEBUG = "inference", "admin", "debug"


class Shared:
    """What the endpoints of all connections share, made on first use: `peer.state.of(Uploads)`."""

    def __init__(self, context: DialectContext) -> None:
        self._context = context
        self._things: dict[object, Any] = {}

    def of(self, make: Callable[[DialectContext], T]) -> T:
        """The one thing that `make` (a class, or a function of the module) makes of the context."""
        if make not in self._things:
            self._things[make] = make(self._context)
        found: T = self._things[make]
        return found

    def __repr__(self) -> str:
        return f"Shared({', '.join(repr(each) for each in self._things.values())})"


@dataclass(slots=True, eq=False)
class Peer:
    """One connection, which is one namespace of one client.

    client: the identifier that the client chose; its connections share it. key_name: of the key it gave, None for a
    guest. scopes: what it may do by now ("inference", "admin", "debug"). state: shared by all connections of the
    server. address, user_agent: for events. headers: with which the client came.
    """

    context: DialectContext
    state: Shared
    namespace: str
    client: str
    connection_id: str
    key_name: str | None = None
    scopes: Callable[[], frozenset[str]] = frozenset
    address: str | None = None
    user_agent: str | None = None
    headers: Headers = field(default_factory=list)
    _requests: int = 0

    def inference(self, route: Route, body: Mapping[str, Any], instance: Instance) -> InferenceRequest:
        """A question to this very instance; what else is known of it is set there."""
        self._requests += 1
        return InferenceRequest(
            route,
            {**body, "model": instance.instance_id},
            f"{self.connection_id}.{self._requests}",
            f"/{self.namespace}",
            "WS",
            dialect="lmstudio",
            client=self.key_name,
            address=self.address,
            user_agent=self.user_agent,
            headers=self.headers,
            only=True,
        )

    def tapped(self, request: InferenceRequest) -> Callable[[bytes], Awaitable[None]] | None:
        """Where the pieces of its answer go as well, while somebody wishes to see them."""
        tap = self.context.tap()
        if tap is None:
            return None
        send = tap(request.request_id, encode(request.body), _nowhere)
        return lambda piece: send({"type": "http.response.body", "body": piece})

    def need(self, scope: str) -> None:
        """Forbidden unless this client may do what `scope` names."""
        if scope not in self.scopes():
            raise Forbidden(f"This needs a key with the scope {scope}.", retry=False)


async def _nowhere(message: MutableMapping[str, Any]) -> None:
    """The client gets its answer in frames."""


class Channel:
    """The server's end of one channel. It closes when its handler returns, with an error if that raises."""

    def __init__(self, send: Callable[[Mapping[str, Any]], Awaitable[None]]) -> None:
        self.cancelled = asyncio.Event()  # the client sent {"type": "cancel"} or {"type": "stop"}
        self._send = send

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send a packet; waits while the client is slow."""
        await self._send(message)

    def arrived(self, message: Any) -> None:
        """The connection's side: the client said something. Here a cancel alone means anything."""
        if isinstance(message, dict) and message.get("type") in ("cancel", "stop"):
            self.cancelled.set()

    def __repr__(self) -> str:
        return f"Channel({'cancelled' if self.cancelled.is_set() else 'open'})"


# A call's result is sent as JSON; None is "void": its frame has no result (a null there ends a whole Node process).
Rpc = Callable[[Peer, Any], Awaitable[Any]]
ChannelHandler = Callable[[Peer, Channel, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Namespace:
    """The endpoints behind one path: `/llm`, `/system`, ...

    endless: the channels that end only with their client. A server that goes down does not wait for them: it cancels
    them.
    """

    name: str
    rpcs: Mapping[str, Rpc] = field(default_factory=dict)
    channels: Mapping[str, ChannelHandler] = field(default_factory=dict)
    endless: frozenset[str] = frozenset()
