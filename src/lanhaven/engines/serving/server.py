"""The HTTP side of an engine that has none: llama.cpp's routes, as far as the gateway asks them."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

from lanhaven.engines.connection import Connection, Seen
from lanhaven.engines.serving.bad import BadRequest
from lanhaven.engines.serving.log import Log
from lanhaven.engines.serving.replies import encode
from lanhaven.engines.serving.service import Service

Answering = Callable[[Service, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
_ANSWERS: Mapping[str, Answering] = MappingProxyType(
    {
        "/apply-template": Service.template,
        "/v1/chat/completions/input_tokens": Service.count,
        "/tokenize": Service.tokenize,
        "/detokenize": Service.detokenize,
        "/v1/embeddings": Service.embed,
    }
)
_GENERATES: Mapping[str, bool] = MappingProxyType({"/v1/chat/completions": True, "/v1/completions": False})


class Server:
    """Listens from the beginning on; until `service` is set it says that it is loading."""

    def __init__(self, key: str, log: Log) -> None:
        self.service: Service | None = None
        self._log = log
        self._expected = f"Bearer {key}".encode()
        self._server: asyncio.Server | None = None

    async def listen(self, address: str) -> int:
        """On a unix socket if the address ends in ".sock"; else on a port of that address, which is returned."""
        loop = asyncio.get_running_loop()
        if address.endswith(".sock"):  # that there is none of this name is seen to by the gateway
            self._server = await loop.create_unix_server(self._connection, address)
            return 0
        self._server = await loop.create_server(self._connection, address, 0)
        return int(self._server.sockets[0].getsockname()[1])

    def _connection(self) -> Connection:
        return Connection(self._serve, lambda connection: None)

    async def _serve(self, connection: Connection, seen: Seen) -> None:
        try:
            await self._answer(connection, seen)
        except BadRequest as error:
            await _send(connection, error.status, error.body())
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - the last resort: an answer that never comes would hold its client
            self._log.failure(f"{type(error).__name__} in {seen.path}")
            await _send(connection, 500, BadRequest("the engine failed at this request", 500).body())
        if seen.headers.get("connection", "").lower() == "close":
            connection.fin()

    async def _answer(self, connection: Connection, seen: Seen) -> None:
        path = seen.path.partition("?")[0]
        if not hmac.compare_digest(seen.headers.get("authorization", "").encode(), self._expected):
            raise BadRequest("Invalid API Key", 401)
        if self.service is None:
            raise BadRequest("Loading model", 503)
        if path == "/health":
            await _send(connection, 200, {"status": "ok"})
        elif path == "/v1/models":
            data = [{"id": self.service.model.alias, "object": "model", "owned_by": self.service.engine}]
            await _send(connection, 200, {"object": "list", "data": data})
        elif path in _ANSWERS:
            await _send(connection, 200, await _ANSWERS[path](self.service, _object(seen.raw)))
        elif path in _GENERATES:
            await self._generate(connection, self.service, _object(seen.raw), chat=_GENERATES[path])
        else:
            raise BadRequest(f"There is no {path} here", 404)

    async def _generate(self, connection: Connection, service: Service, body: Mapping[str, Any], *, chat: bool) -> None:
        """If the client leaves, this task is cancelled (see Connection), and with it the computation."""
        ask, reply = await service.reply(body, chat=chat)
        try:
            if ask.stream:
                await _stream(connection, reply.frames())
            else:
                await _send(connection, 200, await reply.whole())
        finally:
            reply.close()


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None
    if not isinstance(body, dict):
        raise BadRequest("the body must be an object")
    return body


async def _send(connection: Connection, status: int, body: Mapping[str, Any]) -> None:
    data = encode(body)
    head = f"HTTP/1.1 {status} Engine\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    await connection.write(head.encode() + data)


async def _stream(connection: Connection, frames: AsyncIterator[bytes]) -> None:
    await connection.write(
        b"HTTP/1.1 200 Engine\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    async for data in frames:
        await connection.write(b"%x\r\n%b\r\n" % (len(data), data))
    await connection.write(b"0\r\n\r\n")
