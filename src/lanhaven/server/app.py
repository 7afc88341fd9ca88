"""The application: inference routes by one look-up, everything else to the native API. Pure ASGI.

Around it stands the security middleware; in front of both the listener, which cancels a call whose client has left.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import structlog

from lanhaven.dialects.base import JSON, Call, Dialect, Handler, retry_headers
from lanhaven.errors import GatewayError, InternalError, MethodNotAllowed
from lanhaven.gateway import SHUTDOWN
from lanhaven.history.bodies import Bodies
from lanhaven.server.body import read_body, read_pieces
from lanhaven.server.native import error_json
from lanhaven.server.pages import Pages
from lanhaven.wire import encode, refuse_odd

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]

NO_SOCKETS: Mapping[str, ASGI] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Routed:
    """A handler and the dialect whose words its errors take."""

    dialect: Dialect
    methods: Mapping[str, Handler]


class Router:
    """Path -> methods, exact first, then the few paths that end in a name."""

    def __init__(self, dialects: tuple[Dialect, ...]) -> None:
        table = {path: Routed(dialect, methods) for dialect in dialects for path, methods in dialect.routes().items()}
        self._exact = {path: routed for path, routed in table.items() if not path.endswith("/") or path == "/"}
        self._prefixes = {path: routed for path, routed in table.items() if path.endswith("/") and path != "/"}

    def find(self, path: str) -> Routed | None:
        """The route of a decoded path; None when the native API has to look."""
        found = self._exact.get(path)
        if found is not None:
            return found
        for prefix, routed in self._prefixes.items():
            if path.startswith(prefix) and len(path) > len(prefix):
                return routed
        return None

    def paths(self) -> dict[str, tuple[str, ...]]:
        """Every path with its methods, for the documentation tests."""
        return {path: tuple(routed.methods) for path, routed in {**self._exact, **self._prefixes}.items()}


class App:
    """Serves every HTTP request, and WebSockets at the paths of `sockets`. Bodies are read here, bounded, before any
    handler runs."""

    def __init__(
        self,
        router: Router,
        native: ASGI,
        pages: Pages,
        *,
        max_body: int,
        interval: float,
        draining: Callable[[], bool],
        bodies: Bodies,
        sockets: Mapping[str, ASGI] = NO_SOCKETS,
    ) -> None:
        self.router = router
        self.sockets = sockets
        self._native = native
        self._pages = pages
        self._max_body = max_body
        self._interval = interval
        self._draining = draining
        self._bodies = bodies

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self._socket(scope, receive, send)
        routed = self.router.find(scope["path"])
        if routed is None:
            return self._other(scope, receive, send)
        key, client = scope.get("lanhaven.key"), scope.get("client")
        call = Call(
            send=send,
            request_id=scope["lanhaven.request_id"],
            path=scope["path"],
            method=scope["method"],
            dialect=routed.dialect,
            query=scope["query_string"],
            headers=scope["headers"],
            key_name=None if key is None else key.name,
            scopes=None if key is None else key.scopes,
            address=None if client is None else client[0],
            tap=self._bodies.tap,
            interval=self._interval,
        )
        return self._serve(call, routed, scope, receive)

    async def _serve(self, call: Call, routed: Routed, scope: Scope, receive: Receive) -> None:
        try:
            if self._draining():
                raise SHUTDOWN
            handler = routed.methods.get(call.method)
            if handler is None:
                allowed = ", ".join(routed.methods)
                call.extra = [(b"allow", allowed.encode())]  # RFC 9110, 15.5.6
                raise MethodNotAllowed(f"{call.path} takes {allowed}, not {call.method}.")
            if call.method == "POST" and call.path in routed.dialect.uploads:
                call.pieces = partial(read_pieces, scope, receive)
            elif call.method == "POST":
                call.body = await read_body(scope, receive, self._max_body, zstd=routed.dialect.zstd)
            await handler(call)
        except GatewayError as error:
            await call.fail(error)
        except Exception as error:  # the last resort: nothing of a defect's inside may reach a client
            structlog.get_logger().exception("unhandled", request_id=call.request_id, path=call.path)
            await call.fail(InternalError(f"Internal error; the log knows more under {call.request_id}."))
            if isinstance(error, MemoryError):
                raise

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket. Where none is served, and while the server goes down, the offer is refused (403)."""
        if scope["type"] != "websocket":
            return
        serve = self.sockets.get(scope["path"])
        if serve is None or self._draining():
            await send({"type": "websocket.close", "code": 1001})
            return
        await serve(scope, receive, send)

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._pages.serves(scope["method"], scope["path"]):
            await self._pages(scope, send)
            return
        request_id, started = scope["lanhaven.request_id"], False

        async def tracked(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            if self._draining() and scope["path"] not in ("/health", "/livez", "/readyz"):
                raise SHUTDOWN
            body = await read_body(scope, receive, self._max_body)
            if body:
                refuse_odd(body)
            await self._native(scope, replay(body, receive), tracked)
        except GatewayError as error:
            await refuse(tracked, error)
        except Exception:  # noqa: BLE001 - the last resort, as above
            structlog.get_logger().exception("unhandled", request_id=request_id, path=scope["path"])
            if not started:
                await refuse(tracked, InternalError(f"Internal error; the log knows more under {request_id}."))


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that was read already, then whatever comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return again


async def refuse(send: Send, error: GatewayError) -> None:
    """An error reply of the native API."""
    body = encode(error_json(error))
    headers = [*JSON, *retry_headers(error), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def refusal(router: Router) -> Callable[[Scope, GatewayError, str], tuple[bytes, list[tuple[bytes, bytes]]]]:
    """How the security middleware words an error: in the dialect of the path. Returns body and headers."""

    def encode_for(scope: Scope, error: GatewayError, request_id: str) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        routed = router.find(scope["path"])
        if routed is None:
            return encode(error_json(error)), [*JSON, *retry_headers(error)]
        return routed.dialect.error_body(error, request_id), [*JSON, *retry_headers(error)]

    return encode_for


__all__ = ["App", "Router", "refusal"]
