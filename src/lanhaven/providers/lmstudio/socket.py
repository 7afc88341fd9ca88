"""One WebSocket to LM Studio: calls, channels, and what its frames mean. LM Studio has one for each namespace.

Ids count up on each connection. Frames of unknown kinds or ids are passed over; a frame that is no JSON object ends the
connection, and everything that waits on it fails once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from itertools import count
from typing import Any

import aiohttp
import msgspec

from lanhaven.lmstudio.error_data import ErrorData, read_error
from lanhaven.lmstudio.tokens import Identity
from lanhaven.wire import encode

MOST_BYTES = 16 * 2**20  # of one frame: the list of a thousand models takes about one MiB
MOST_WAITING = 1024  # messages of a channel that nobody has read yet
AUTH_SECONDS = 10.0

Headers = Iterable[tuple[str, str]]
_log = logging.getLogger(__name__)
_decode = msgspec.json.Decoder().decode
_CLIENT_ERRORS = range(400, 500)


class Unreachable(Exception):
    """There is no connection, or it broke. The text says how."""


class Unconnected(Unreachable):
    """No connection could be made, as often as it was tried."""


class Refused(Exception):
    """LM Studio is there, and does not let us in through a WebSocket."""


class Rejected(Exception):
    """A call or a channel was answered with an error."""

    def __init__(self, data: ErrorData) -> None:
        super().__init__(data.text)
        self.data = data


class Channel:
    """Messages of one open channel, in order. Made by `Socket.channel`."""

    def __init__(self, socket: Socket, number: int) -> None:
        self._socket, self._number = socket, number
        self._waiting: asyncio.Queue[dict[str, Any] | Exception | None] = asyncio.Queue(MOST_WAITING + 1)
        self.ended = False

    def put(self, item: dict[str, Any] | Exception | None) -> None:
        """The socket's side: a message, how it failed, or None for its end. Nothing may follow the latter two."""
        if self.ended:
            return
        if self._waiting.qsize() >= MOST_WAITING:
            item = Unreachable("sent more than was read")
        self.ended = not isinstance(item, dict)
        self._waiting.put_nowait(item)

    async def next(self, seconds: float) -> dict[str, Any] | None:
        """The next message; None when LM Studio has closed the channel. Rejected, Unreachable (also for silence)."""
        try:
            async with asyncio.timeout(seconds):
                item = await self._waiting.get()
        except TimeoutError:
            raise Unreachable(f"said nothing for {seconds:g} s") from None
        if isinstance(item, Exception):
            raise item
        return item

    async def cancel(self) -> None:
        """Ask LM Studio to stop what the channel is for; it still ends the channel itself."""
        await self._socket.send({"type": "channelSend", "channelId": self._number, "message": {"type": "cancel"}})

    def close(self) -> None:
        """Nobody reads it any more."""
        self._socket.forget(self._number)


class Socket:
    """Made by `connect`. Its reader is a task that ends with the connection."""

    def __init__(self, wire: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._channels: dict[int, Channel] = {}
        self._pongs: list[asyncio.Future[None]] = []
        self._numbers = count(1)
        self._broken: str | None = None
        self.heard = self._loop.time()  # when the last frame came
        self._reader = asyncio.create_task(self._read(), name="lmstudio socket")

    @property
    def closed(self) -> bool:
        return self._broken is not None

    async def alive(self, seconds: float) -> bool:
        """Whether the other side answers a ping."""
        pong: asyncio.Future[None] = self._loop.create_future()
        self._pongs.append(pong)
        try:
            async with asyncio.timeout(seconds):
                await self._wire.ping()
                await pong
        except (TimeoutError, ConnectionError, aiohttp.ClientError, Unreachable):
            return False
        finally:
            if pong in self._pongs:
                self._pongs.remove(pong)
            _drop(pong)
        return not self.closed

    async def call(self, endpoint: str, parameter: Any, seconds: float) -> Any:
        """The result of a remote call; None where there is none. Rejected; Unreachable, also when it takes longer."""
        number = next(self._numbers)
        answer = self._calls[number] = self._loop.create_future()
        frame = {"type": "rpcCall", "endpoint": endpoint, "callId": number}
        try:
            async with asyncio.timeout(seconds):
                await self.send(frame if parameter is None else {**frame, "parameter": parameter})
                return await answer
        except TimeoutError:
            self.heard = 0.0  # to be looked at before it is used again
            raise Unreachable(f"did not answer within {seconds:g} s") from None
        finally:
            self._calls.pop(number, None)
            _drop(answer)

    async def channel(self, endpoint: str, parameter: Any) -> Channel:
        """Open a channel. Close it when nothing more is to be read."""
        number = next(self._numbers)
        channel = self._channels[number] = Channel(self, number)
        frame = {"type": "channelCreate", "endpoint": endpoint, "channelId": number, "creationParameter": parameter}
        try:
            await self.send(frame)
        except Unreachable:
            self.forget(number)
            raise
        return channel

    async def send(self, frame: dict[str, Any]) -> None:
        """Unreachable if it is gone."""
        if self._broken is not None:
            raise Unreachable(self._broken)
        try:
            await self._wire.send_str(encode(frame).decode())
        except (ConnectionError, aiohttp.ClientError) as error:
            self._end("closed the connection")
            raise Unreachable("closed the connection") from error

    def forget(self, channel: int) -> None:
        self._channels.pop(channel, None)

    async def aclose(self) -> None:
        """Idempotent."""
        self._end("is not needed any more")
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        with suppress(ConnectionError, aiohttp.ClientError):
            await self._wire.close()

    async def _read(self) -> None:
        how = "closed the connection"
        try:
            while (message := await self._wire.receive()).type not in _ENDS:
                self.heard = self._loop.time()
                if not await self._take(message.type, message.data):
                    how = "sent something that is not LM Studio's protocol"
                    break
        except (ConnectionError, aiohttp.ClientError):
            pass
        finally:
            self._end(how)
        with suppress(ConnectionError, aiohttp.ClientError):
            await self._wire.close()

    async def _take(self, kind: aiohttp.WSMsgType, data: Any) -> bool:
        """Whether it was a message that can be."""
        match kind:
            case aiohttp.WSMsgType.TEXT:
                frame = _object(data)
                if frame is not None:
                    self._dispatch(frame)
                return frame is not None
            case aiohttp.WSMsgType.PING:
                await self._wire.pong(data)
            case aiohttp.WSMsgType.PONG:
                pongs, self._pongs = self._pongs, []
                for pong in pongs:
                    _settle(pong, None)
            case _:
                return False
        return True

    def _dispatch(self, frame: dict[str, Any]) -> None:
        call, channel = self._call_of(frame), self._channel_of(frame)
        match frame.get("type"):
            case "rpcResult" if call is not None:
                _settle(call, frame.get("result"))
            case "rpcError" if call is not None:
                _settle(call, Rejected(read_error(frame.get("error"))))
            case "channelSend" if channel is not None:
                if isinstance(frame.get("message"), dict):
                    channel.put(frame["message"])
            case "channelClose" if channel is not None:
                channel.put(None)
            case "channelError" if channel is not None:
                channel.put(Rejected(read_error(frame.get("error"))))
            case kind:
                _log.debug("a frame of LM Studio was passed over: %s", str(kind)[:60])

    def _call_of(self, frame: dict[str, Any]) -> asyncio.Future[Any] | None:
        number = frame.get("callId")
        return self._calls.get(number) if isinstance(number, int) else None

    def _channel_of(self, frame: dict[str, Any]) -> Channel | None:
        number = frame.get("channelId")
        return self._channels.get(number) if isinstance(number, int) else None

    def _end(self, how: str) -> None:
        """Everything that waits fails, once."""
        if self._broken is not None:
            return
        self._broken = how
        for answer in (*self._calls.values(), *self._pongs):
            _settle(answer, Unreachable(how))
        for channel in tuple(self._channels.values()):
            channel.put(Unreachable(how))
        self._channels.clear()

    def __repr__(self) -> str:
        state = self._broken or "open"
        return f"Socket({state} calls={len(self._calls)} channels={len(self._channels)})"


_ENDS = frozenset(
    {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
)


async def connect(
    http: aiohttp.ClientSession, url: str, identity: Identity, seconds: float, headers: Headers = ()
) -> Socket:
    """An open socket that LM Studio has let in. Unreachable (no connection within `seconds`, ...); Refused."""
    try:
        async with asyncio.timeout(seconds):
            wire = await http.ws_connect(url, autoping=False, max_msg_size=MOST_BYTES, headers=dict(headers))
    except TimeoutError:
        raise Unreachable("does not answer") from None
    except aiohttp.WSServerHandshakeError as error:
        if error.status in _CLIENT_ERRORS or error.status == 200:
            raise Refused(f"its server answered {error.status} to the WebSocket") from None
        raise Unreachable(f"answered with status {error.status}") from None
    except aiohttp.ClientSSLError:
        raise Unreachable("has a TLS certificate that cannot be verified") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        refused = isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError)
        raise Unreachable("is not running" if refused else "cannot be reached") from None
    admitted = False
    try:
        await _introduce(wire, identity)
        admitted = True
    finally:
        if not admitted:
            await wire.close()
    return Socket(wire)


async def _introduce(wire: aiohttp.ClientWebSocketResponse[bool], identity: Identity) -> None:
    try:
        async with asyncio.timeout(AUTH_SECONDS):
            await wire.send_str(encode(identity.frame()).decode())
            while (message := await wire.receive()).type is aiohttp.WSMsgType.PING:
                await wire.pong(message.data)
    except TimeoutError:
        raise Unreachable("does not answer") from None
    except (ConnectionError, aiohttp.ClientError):
        raise Unreachable("closed the connection") from None
    if message.type in _ENDS:
        raise Unreachable("closed the connection")
    answer = _object(message.data) if message.type is aiohttp.WSMsgType.TEXT else None
    if answer is None or not isinstance(answer.get("success"), bool):
        raise Unreachable("sent something that is not LM Studio's protocol")
    if not answer["success"]:
        raise Refused(read_error(answer.get("error")).text)


def _object(text: Any) -> dict[str, Any] | None:
    try:
        value = _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _settle(answer: asyncio.Future[Any], value: Any) -> None:
    if answer.done():
        return
    if isinstance(value, Exception):
        answer.set_exception(value)
    else:
        answer.set_result(value)


def _drop(answer: asyncio.Future[Any]) -> None:
    """Nobody waits for it any more: an error in it was told already, or concerns nobody."""
    if not answer.cancel() and not answer.cancelled():
        answer.exception()
