"""LM Studio's WebSocket protocol by hand: frames out, frames in."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

PATIENCE = 60.0  # seconds after which a missing frame fails the test

MODELS = """\
models:
  - {id: alpha, provider: mock, enabled: true, aliases: [first]}
  - {id: beta, provider: mock, enabled: true}
  - {id: Maker/Seeing-1B, provider: mock, enabled: true, config: {kind: vlm}}
  - {id: embed, provider: mock, enabled: true, config: {kind: embedding}}
  - {id: ranks, provider: mock, enabled: true, config: {kind: reranker}}
"""


class Frames:
    """One connection. Calls and channels are counted in one sequence from 0, as JavaScript does."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.warnings: list[dict[str, Any]] = []
        self._ids = itertools.count()

    async def send(self, frame: Any) -> None:
        await self.socket.send(json.dumps(frame))

    async def next(self) -> dict[str, Any]:
        """The next frame that is no warning; ConnectionClosed if there is none."""
        async with asyncio.timeout(PATIENCE):
            while True:
                frame: dict[str, Any] = json.loads(await self.socket.recv())
                if frame.get("type") != "communicationWarning":
                    return frame
                self.warnings.append(frame)

    async def call(self, endpoint: str, parameter: Any = None) -> dict[str, Any]:
        """The whole answer of a call."""
        said = {} if parameter is None else {"parameter": parameter}
        number = next(self._ids)
        await self.send({"type": "rpcCall", "endpoint": endpoint, "callId": number, **said})
        frame = await self.next()
        assert frame["callId"] == number
        return frame

    async def result(self, endpoint: str, parameter: Any = None) -> Any:
        frame = await self.call(endpoint, parameter)
        assert frame["type"] == "rpcResult", frame
        return frame["result"]

    async def error(self, endpoint: str, parameter: Any = None) -> dict[str, Any]:
        frame = await self.call(endpoint, parameter)
        assert frame["type"] == "rpcError", frame
        error: dict[str, Any] = frame["error"]
        return error

    async def open(self, endpoint: str, parameter: Any = None) -> int:
        """Open a channel; its number."""
        number = next(self._ids)
        said = {} if parameter is None else {"creationParameter": parameter}
        await self.send({"type": "channelCreate", "endpoint": endpoint, "channelId": number, **said})
        return number

    async def packet(self) -> dict[str, Any]:
        """The message of the next frame, which must be a channel's packet."""
        frame = await self.next()
        assert frame["type"] == "channelSend", frame
        message: dict[str, Any] = frame["message"]
        return message

    async def rest(self) -> list[dict[str, Any]]:
        """Every packet up to the close; an error is the last one, as {"error": ...}."""
        packets: list[dict[str, Any]] = []
        while (frame := await self.next())["type"] == "channelSend":
            packets.append(frame["message"])
        if frame["type"] == "channelError":
            packets.append({"error": frame["error"]})
        else:
            assert frame["type"] == "channelClose", frame
        return packets

    async def channel(self, endpoint: str, parameter: Any = None) -> list[dict[str, Any]]:
        """Open a channel and read it to its end."""
        await self.open(endpoint, parameter)
        return await self.rest()

    async def closed(self) -> int:
        """Wait for the server to close; its code."""
        async with asyncio.timeout(PATIENCE):
            try:
                while True:
                    await self.socket.recv()
            except ConnectionClosed:
                return self.socket.close_code or 0


def introduction(identifier: str = "somebody", passkey: str = "a secret") -> dict[str, Any]:
    return {"authVersion": 1, "clientIdentifier": identifier, "clientPasskey": passkey}


@asynccontextmanager
async def unknown(url: str, namespace: str = "llm", **more: Any) -> AsyncIterator[Frames]:
    """A connection that has not introduced itself."""
    address = f"{url.replace('http', 'ws', 1)}/{namespace}"
    async with connect(address, proxy=None, compression=None, close_timeout=1, **more) as socket:
        yield Frames(socket)


@asynccontextmanager
async def frames(url: str, namespace: str = "llm", **said: str) -> AsyncIterator[Frames]:
    """A connection that was let in."""
    async with unknown(url, namespace) as found:
        await found.send(introduction(**said))
        assert await found.next() == {"success": True}
        yield found
