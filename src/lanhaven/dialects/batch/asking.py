"""Asking a route of another dialect as a client would, and keeping the reply."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from lanhaven.dialects.base import Call, Dialect, Handler, Tap
from lanhaven.errors import GatewayError, NotFound
from lanhaven.wire import encode, read_json


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole reply. retry_after: seconds, where it says so."""

    status: int
    body: bytes
    retry_after: float | None = None

    @property
    def ok(self) -> bool:
        return self.status < 400

    @property
    def code(self) -> str | None:
        """The code of an error."""
        error = None if self.ok else read_json(self.body).get("error")
        return error.get("code") if isinstance(error, dict) else None


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. path: as events tell it. owner: name of the key that it runs for. address, user_agent: of its
    client, while there is one."""

    route: str
    body: Mapping[str, Any]
    request_id: str
    path: str
    owner: str | None
    address: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """Who serves a path, in whose words errors are."""

    dialect: Dialect
    handler: Handler


@dataclass(slots=True)
class _Reply:
    """Where a handler's reply goes."""

    status: int = 500
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        else:
            self.parts.append(message.get("body", b""))

    def answer(self) -> Answer:
        after = self.headers.get(b"retry-after")
        return Answer(self.status, b"".join(self.parts), None if after is None else float(after))


class Asker:
    """Each request is one of its own to the gateway: own events, own lease. Cancelling the caller cancels it."""

    def __init__(
        self, dialects: tuple[Dialect, ...], paths: tuple[str, ...], tap: Callable[[], Tap | None] = lambda: None
    ) -> None:
        self._tap = tap
        served = {path: (each, methods) for each in dialects for path, methods in each.routes().items()}
        self._routes = {path: Route(served[path][0], served[path][1]["POST"]) for path in paths}

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(self._routes)

    async def ask(self, asked: Asked) -> Answer:
        """The reply, whatever it is: errors are replies too."""
        route = self._routes.get(asked.route)
        if route is None:
            raise NotFound(f"No such route: {asked.route}", retry=False)
        reply = _Reply()
        call = Call(
            send=reply.send,
            request_id=asked.request_id,
            path=asked.path,
            method="POST",
            dialect=route.dialect,
            body=encode({**asked.body, "stream": False}) if "stream" in asked.body else encode(asked.body),
            key_name=asked.owner,
            address=asked.address,
            headers=[(b"user-agent", asked.user_agent.encode("latin-1"))] if asked.user_agent else [],
            tap=self._tap(),
        )
        try:
            await route.handler(call)
        except GatewayError as error:
            await call.fail(error)
        return reply.answer()
