"""The door: one middleware that every request passes, in the order Host, address, CORS, path, key, origin.

Pure ASGI: `BaseHTTPMiddleware` hides a client's leaving from everything behind it (measured). Cheap: verdicts about
addresses, hosts and paths are remembered; what is left per request is one pass over the headers and one SHA-256.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Awaitable, Callable, Container, MutableMapping
from functools import partial
from typing import Any

from lanhaven.errors import Forbidden, GatewayError, InvalidRequest, Unauthorized, UnsupportedMediaType
from lanhaven.keys.store import ALL_SCOPES, KeyInfo, KeyScope, KeyStore
from lanhaven.network.addresses import Gate
from lanhaven.server.access import Access, AccessRules
from lanhaven.server.attempts import WrongKeys
from lanhaven.server.callers import Callers
from lanhaven.server.cors import Cors, is_own
from lanhaven.server.hosts import HostNames
from lanhaven.server.policy import SecurityPolicy
from lanhaven.server.proxies import client_behind, scheme_behind
from lanhaven.server.replies import SECURITY_HEADERS, Headers, error_body, new_request_id
from lanhaven.server.sessions import Sessions

__all__ = ["Security", "SecurityPolicy", "native_refusal"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGI = Callable[[Any, Any, Any], Awaitable[None]]
Refuse = Callable[[Any, GatewayError, str], tuple[bytes, Headers]]

_READ = frozenset(
    {
        b"host",
        b"x-api-key",
        b"authorization",
        b"origin",
        b"content-type",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"access-control-request-method",
        b"access-control-request-headers",
        b"user-agent",
        b"cookie",
        b"sec-fetch-site",
    }
)
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
GUEST_SCOPES = frozenset({KeyScope.INFERENCE, KeyScope.ADMIN})  # what LM Studio's clients do: load, ask, unload
_KEY_HINT = "send a key as X-API-Key or as Authorization: Bearer; lanhaven keys add NAME makes one"


def native_refusal(scope: Any, error: GatewayError, request_id: str) -> tuple[bytes, Headers]:
    """Body and headers of an error where no dialect says otherwise (S0-72, S0-73)."""
    headers: Headers = [(b"content-type", b"application/json")]
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after))))
    return error_body(error.message), headers


class Security:
    """Wraps an ASGI application. After it, `scope` holds:

    "lanhaven.key": KeyInfo of the caller, None on a server without keys and on public paths without one;
    "lanhaven.request_id": the id of the request; "client" and "scheme": the real ones where a trusted proxy names them.

    "lanhaven.admit", for a WebSocket at one of the paths `sockets`: see `_admit`.

    token: a key with all scopes for this run. refuse: words an error for the route that was asked. sockets: paths of
    WebSockets that ask for the key themselves. callers: those of the application behind it, where it signs browsers in.
    """

    def __init__(
        self,
        app: ASGI,
        policy: SecurityPolicy,
        keys: KeyStore,
        *,
        token: str | None = None,
        refuse: Refuse = native_refusal,
        clock: Callable[[], float] = time.monotonic,
        sockets: Container[str] = frozenset(),
        callers: Callers | None = None,
    ) -> None:
        self._app = app
        self._sockets = sockets
        self._guests = Gate(policy.guests, loopback=False)
        self._keys = keys
        self._refuse = refuse
        self._gate = Gate(policy.allowlist)
        self._proxies = Gate(policy.trusted_proxies, loopback=False)
        self._behind_proxies = bool(policy.trusted_proxies)
        self._hosts = HostNames(policy.host_names, policy.own_addresses)
        self._cors = Cors(policy.cors_origins)
        self._access = AccessRules(health_is_public=policy.health_is_public, public=policy.public_paths)
        self.callers = callers or callers_of(policy, keys, Sessions(clock), clock)
        if token is not None:
            keys.trust(token)

    def __repr__(self) -> str:
        return f"Security({self._gate}, {self._hosts}, {self._cors}, {self._keys})"

    def admits_peer(self, address: str) -> bool:
        """Whether a connection from this address is worth reading a request from: the listener asks (F-147)."""
        return self._gate.admits(address) or (self._behind_proxies and self._proxies.admits(address))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or one WebSocket; anything else passes."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        request_id = scope["lanhaven.request_id"] = new_request_id()
        extra: Headers = [(b"x-request-id", request_id.encode()), *SECURITY_HEADERS]
        try:
            asked_beforehand = self._judge(scope, extra)
        except GatewayError as error:
            await self._turn_away(scope, send, error, extra)
            return
        if asked_beforehand:
            await _reply(send, 204, b"", extra)
            return
        await self._app(scope, receive, _with_headers(send, extra))

    def _judge(self, scope: Scope, extra: Headers) -> bool:
        """Raise what keeps the request out; add the reply's CORS headers to `extra`. True if it is only a preflight."""
        seen = _headers_of(scope)
        host = seen.get(b"host", b"")
        server = scope.get("server")
        if not self._hosts.allows(host, server[0] if server else ""):
            raise Forbidden("Host not allowed", hint="add the name to allowed_hosts if it is one of this server's")
        address = self._address(scope, seen)
        origin = seen.get(b"origin")
        if origin is not None and self._preflight(scope, seen, origin, extra):
            return True
        access = self._access.of(scope)
        if scope["type"] == "websocket" and scope["path"] in self._sockets:
            self._judge_origin(origin, host, strict=True)  # no CORS holds a page back from a socket
            scope["lanhaven.admit"] = partial(self._admit, address, seen)
            return False
        scope["lanhaven.key"] = key = self._key(scope, access, address, seen)
        if key is None and not access.public:
            self._judge_origin(origin, host, strict=not self._cors.any or access.guarded)
        elif access.guarded and scope.get("method") not in _SAFE:
            self._judge_origin(origin, host, strict=True)
        if access.json_only:
            _judge_content_type(scope, seen)
        return False

    def _address(self, scope: Scope, seen: dict[bytes, bytes]) -> str:
        client = scope.get("client")
        address: str = client[0] if client else ""
        if self._behind_proxies and self._proxies.admits(address):
            address = client_behind(address, seen.get(b"x-forwarded-for", b""), self._proxies)
            scope["client"] = (address, 0)
            if scope["type"] == "http":
                scope["scheme"] = scheme_behind(seen.get(b"x-forwarded-proto", b"")) or scope.get("scheme", "http")
        if not self._gate.admits(address):
            raise Forbidden("Forbidden", hint="add the network of the client to ip_allowlist")
        return address

    def _preflight(self, scope: Scope, seen: dict[bytes, bytes], origin: bytes, extra: Headers) -> bool:
        if scope.get("method") == "OPTIONS" and b"access-control-request-method" in seen:
            extra += self._cors.preflight(origin, seen.get(b"access-control-request-headers", b""))
            return True
        extra += self._cors.headers(origin)
        return False

    def _key(self, scope: Scope, access: Access, address: str, seen: dict[bytes, bytes]) -> KeyInfo | None:
        """The caller's key; None where none is needed. Unauthorized, Forbidden, TooManyAttempts."""
        if self.callers.anybody:
            return None  # a key that is sent nevertheless ("not-needed") is ignored
        try:
            key = self.callers.by_key(address, presented_key(seen), seen.get(b"user-agent"))
            key = key or self._signed_in(scope, address, seen)
        except GatewayError:
            if access.public:
                return None
            raise
        if key is None:
            if access.public:
                return None
            raise Unauthorized("Unauthorized", hint=_KEY_HINT)
        if access.scope is not None and access.scope not in key.scopes:
            raise Forbidden("Forbidden", hint=f"this needs a key with the scope {access.scope}")
        return key

    def _admit(
        self, address: str, seen: dict[bytes, bytes], token: str | None
    ) -> tuple[str | None, Callable[[], frozenset[str]]]:
        """For a WebSocket that asks for a key in its own first message: the key's name, None for a guest, and what
        tells its scopes at any time: it may lose them while it is open (F-154).

        Unauthorized, TooManyAttempts. What came through a proxy that is not trusted is no guest: whoever it brings in
        has the proxy's address.
        """
        direct = self._behind_proxies or b"x-forwarded-for" not in seen
        guest = GUEST_SCOPES if direct and self._guests.admits(address) else frozenset[KeyScope]()
        if self.callers.anybody:
            return None, lambda: ALL_SCOPES if self.callers.anybody else guest
        presented = token.encode() if token is not None else presented_key(seen)
        key = self.callers.by_key(address, presented, seen.get(b"user-agent"))
        if key is not None:
            return key.name, partial(self.callers.scopes, key.name)
        if guest:
            return None, lambda: guest
        raise Unauthorized("Unauthorized", hint="use an API token (lanhaven keys add --lmstudio NAME makes one)")

    def _signed_in(self, scope: Scope, address: str, seen: dict[bytes, bytes]) -> KeyInfo | None:
        """The key of the browser's session. Forbidden where the request is not one of our own pages': unlike a key, a
        cookie comes along by itself, also from a page of another port of this host (F-151)."""
        cookies = seen.get(b"cookie")
        host, agent = seen.get(b"host", b""), seen.get(b"user-agent")
        key = self.callers.by_cookie(address, host, cookies, agent) if cookies is not None else None
        if key is None:
            return None
        origin = seen.get(b"origin")
        if origin is not None:
            ours = is_own(origin, host)
        else:
            ours = scope.get("method") in ("GET", "HEAD") or seen.get(b"sec-fetch-site") == b"same-origin"
        if not ours:
            raise Forbidden("Origin not allowed", hint="a browser's session is for this server's own page; send a key")
        return key

    def _judge_origin(self, origin: bytes | None, host: bytes, *, strict: bool) -> None:
        """A web page of somebody else may not act through its visitor's browser (F-151)."""
        if origin is not None and strict and not is_own(origin, host) and not self._cors.lists(origin):
            raise Forbidden("Origin not allowed", hint="add the origin to cors_origins if the page is to be trusted")

    async def _turn_away(self, scope: Scope, send: Send, error: GatewayError, extra: Headers) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": error.message})
            return
        body, headers = self._refuse(scope, error, scope["lanhaven.request_id"])
        if error.status == 401:
            headers = [*headers, (b"www-authenticate", b'Bearer realm="lanhaven"')]
        await _reply(_with_headers(send, extra), error.status, body, headers)


def callers_of(policy: SecurityPolicy, keys: KeyStore, sessions: Sessions, clock: Callable[[], float]) -> Callers:
    """Who may ask under this policy."""
    return Callers(keys, sessions, WrongKeys(clock, allowed=policy.wrong_keys_per_minute), keyless=policy.keyless)


def presented_key(seen: dict[bytes, bytes]) -> bytes | None:
    """The key that the headers carry; None without one. X-API-Key decides where both are sent (C27).

    An empty X-API-Key counts as not sent: the Anthropic libraries send one beside their Bearer token when their own
    variable is set to nothing, as the manuals of several servers advise.
    """
    given = seen.get(b"x-api-key")
    if given and (given := given.strip()):
        return given
    said = seen.get(b"authorization")
    if said is None:
        return None
    if said.startswith(b"Bearer "):  # as nearly all write it
        return said[7:].strip() or None
    scheme, _, value = said.partition(b" ")
    value = value.strip()
    match scheme.lower():
        case b"bearer":
            return value or None
        case b"basic":
            return _password(value)
    return None


def _password(value: bytes) -> bytes | None:
    try:
        decoded = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded.partition(b":")[2] or None


def _headers_of(scope: Scope) -> dict[bytes, bytes]:
    """The headers that decide. One that comes twice with two values could be read in two ways."""
    headers = scope["headers"]
    seen = dict(headers)
    if len(seen) == len(headers):  # nearly always: none comes twice
        return seen
    seen.clear()
    for name, value in headers:
        if name in _READ:
            if name in seen:
                value = _again(name, seen[name], value)
            seen[name] = value
    return seen


def _again(name: bytes, first: bytes, second: bytes) -> bytes:
    if name in {b"x-forwarded-for", b"x-forwarded-proto"}:
        return first + b"," + second
    if name == b"cookie":
        return first + b"; " + second
    if first == second or name == b"user-agent":
        return first
    if name in {b"x-api-key", b"authorization"}:
        raise Unauthorized("Unauthorized", hint="two different keys came in the same header")
    raise InvalidRequest(f"The header {name.decode()} came twice.")


def _judge_content_type(scope: Scope, seen: dict[bytes, bytes]) -> None:
    """A browser sends JSON across origins only after asking; forms and plain text it sends at once (F-110)."""
    method = scope.get("method")
    if method in _SAFE or (method != "POST" and not _has_body(scope)):
        return
    if seen.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
        raise UnsupportedMediaType("Content-Type must be application/json")


def _has_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )


def _with_headers(send: Send, extra: Headers) -> Send:
    """A `send` that adds to the head of a reply the headers it does not bring itself."""

    def sending(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            headers = message.get("headers", ())
            brought = dict(headers)
            more = (
                extra if brought.keys().isdisjoint(dict(extra)) else [each for each in extra if each[0] not in brought]
            )
            message["headers"] = [*headers, *more]
        return send(message)

    return sending


async def _reply(send: Send, status: int, body: bytes, headers: Headers) -> None:
    length: Headers = [] if status == 204 else [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *length]})
    await send({"type": "http.response.body", "body": body})
