"""A door to knock at: the security middleware before a small application, asked without a socket."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from lanhaven.keys.store import KeyStore
from lanhaven.server.security import Security, SecurityPolicy
from tests.server.apps import answer
from tests.server.raw import Reply

KEY = "the-key-of-the-settings"
LAN = (ip_network("192.168.1.0/24"),)


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Door:
    """A security middleware with an application behind it, asked without a socket."""

    security: Security
    keys: KeyStore
    clock: Clock
    scopes: list[dict[str, Any]]

    async def ask(
        self,
        path: str = "/v1/models",
        *headers: tuple[str, str],
        method: str = "GET",
        host: str = "localhost:8002",
        client: str = "127.0.0.1",
        raw_path: bytes | None = None,
        kind: str = "http",
    ) -> Reply:
        sent: list[dict[str, Any]] = []
        scope = {
            "type": kind,
            "method": method,
            "path": path,
            "raw_path": path.encode() if raw_path is None else raw_path,
            "query_string": b"",
            "headers": [(b"host", host.encode()), *((n.lower().encode(), v.encode("latin-1")) for n, v in headers)],
            "client": (client, 50000),
            "server": ("127.0.0.1", 8002),
        }
        if kind == "websocket":
            del scope["method"]

        async def receive() -> dict[str, Any]:
            raise AssertionError("the door reads no body")

        async def send(message: Any) -> None:
            sent.append(message)

        await self.security(scope, receive, send)
        if kind == "websocket":
            return Reply(403 if sent and sent[0]["type"] == "websocket.close" else 200, {}, b"")
        pairs = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
        assert len(dict(pairs)) == len(pairs), f"a header comes twice: {pairs}"
        return Reply(sent[0]["status"], dict(pairs), b"".join(message["body"] for message in sent[1:]))


def door(tmp_path: Path, policy: SecurityPolicy | None = None, *, key: str | None = KEY, **more: Any) -> Door:
    scopes: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        if scope["type"] == "http":
            await answer(send)

    clock = Clock()
    keys = KeyStore(tmp_path / "keys.sqlite3", api_key=key)
    return Door(Security(app, policy or SecurityPolicy(), keys, clock=clock, **more), keys, clock, scopes)


def bearer(key: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {key}")


def basic(key: str, user: str = "anybody") -> tuple[str, str]:
    return ("Authorization", "Basic " + base64.b64encode(f"{user}:{key}".encode()).decode())
