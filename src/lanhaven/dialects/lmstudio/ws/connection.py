"""One connection behind its first frame: calls and channels, each a task, keyed apart, ended with the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import structlog

from lanhaven.dialects.lmstudio.errors import error_object
from lanhaven.dialects.lmstudio.models import loaded
from lanhaven.dialects.lmstudio.ws.endpoint import Channel, Namespace, Peer
from lanhaven.dialects.lmstudio.ws.wire import GOING_DOWN, Sign, Wire, read_frame
from lanhaven.errors import GatewayError, InternalError, InvalidRequest, Overloaded, UnsupportedFeature
from lanhaven.gateway import SHUTDOWN

MOST_RUNNING = 256  # calls and channels of one connection at once
MOST_WARNINGS = 5
LAST_WORDS = 2.0  # seconds in which a client hears why its calls end

_PARAMETER: Mapping[str, str] = MappingProxyType(
    {"call": "rpcParameterTypeError", "channel": "channelCreationParameterTypeError"}
)
Work = Callable[[], Awaitable[None]]
Id = tuple[str, int]  # ("call", 0), ("channel", 0): the two are counted apart


@dataclass(slots=True, eq=False)
class _Run:
    """One call or channel: what runs for it, and how it fails."""

    endpoint: str
    fail: Callable[[GatewayError], Awaitable[None]]
    task: asyncio.Task[None]
    channel: Channel | None = None


class Connection:
    """Serves one namespace to one client until either leaves."""

    def __init__(self, namespace: Namespace, peer: Peer, wire: Wire) -> None:
        self._namespace = namespace
        self._peer = peer
        self._wire = wire
        self._running: dict[Id, _Run] = {}
        self._warned = 0
        self._draining = False

    def __repr__(self) -> str:
        return f"Connection({self._namespace.name} of {self._peer.client!r}, {len(self._running)} running)"

    async def run(self) -> None:
        """Until the client leaves. Cancelled when the server cannot wait any longer: then what runs fails first."""
        try:
            while (message := await self._wire.receive()) is not Sign.GONE:
                if isinstance(message, Sign):
                    await self._drain()
                else:
                    await self._take(message)
        except asyncio.CancelledError:
            await self._last_words()
            raise
        finally:
            await self._end_all()

    # ---- what the client says

    async def _take(self, text: str) -> None:
        frame = read_frame(text) or {}
        match frame:
            case {"type": "rpcCall", "endpoint": str(endpoint), "callId": int(number)}:
                await self._call(endpoint, number, frame.get("parameter"))
            case {"type": "channelCreate", "endpoint": str(endpoint), "channelId": int(number)}:
                await self._open(endpoint, number, frame.get("creationParameter"))
            case {"type": "channelSend", "channelId": int(number)}:
                await self._message(number, frame)
            case {"type": "signalSubscribe" | "writableSignalSubscribe" as kind, "subscribeId": int(number)}:
                await self._no_signal(kind, number, frame.get("endpoint"))
            case {"type": "keepAlive"}:
                await self._wire.send({"type": "keepAliveAck"})
            case {"type": "channelAck" | "communicationWarning" | "signalUnsubscribe" | "writableSignalUnsubscribe"}:
                pass  # we ask for no acknowledgements, and there are no signals
            case _:
                await self._warn("A frame was ignored: it is none of the protocol's.", None)

    async def _call(self, endpoint: str, number: int, parameter: Any) -> None:
        async def fail(error: GatewayError) -> None:
            await self._wire.send({"type": "rpcError", "callId": number, "error": self._worded(error)})

        async def work() -> None:
            rpc = self._namespace.rpcs.get(endpoint)
            if rpc is None:
                raise await self._unknown(endpoint, "rpcEndpointUnknown")
            result = await rpc(self._peer, parameter)
            # "void" has no result at all: a null there ends the whole process of an @lmstudio/sdk 1.5.0.
            answer = {} if result is None else {"result": result}
            await self._wire.send({"type": "rpcResult", "callId": number, **answer})

        await self._start(("call", number), endpoint, work, fail)

    async def _open(self, endpoint: str, number: int, parameter: Any) -> None:
        async def fail(error: GatewayError) -> None:
            await self._wire.send({"type": "channelError", "channelId": number, "error": self._worded(error)})

        async def tell(message: Mapping[str, Any]) -> None:
            await self._wire.send({"type": "channelSend", "channelId": number, "message": message})

        channel = Channel(tell)

        async def work() -> None:
            handler = self._namespace.channels.get(endpoint)
            if handler is None:
                raise await self._unknown(endpoint, "channelEndpointUnknown")
            await handler(self._peer, channel, parameter)
            await self._wire.send({"type": "channelClose", "channelId": number})

        await self._start(("channel", number), endpoint, work, fail, channel)

    async def _message(self, number: int, frame: dict[str, Any]) -> None:
        """For a channel. One that is closed already is a cancel that came late: nothing to speak of."""
        run = self._running.get(("channel", number))
        if run is not None and run.channel is not None:
            run.channel.arrived(frame.get("message"))
        if isinstance(frame.get("ackId"), int):
            await self._wire.send({"type": "channelAck", "channelId": number, "ackId": frame["ackId"]})

    async def _no_signal(self, kind: str, number: int, endpoint: Any) -> None:
        error = await self._unknown(str(endpoint), "signalEndpointUnknown")
        answer = "signalError" if kind == "signalSubscribe" else "writableSignalError"
        await self._wire.send({"type": answer, "subscribeId": number, "error": self._worded(error)})

    async def _drain(self) -> None:
        """Nothing new from now on; what would never end by itself is asked to."""
        self._draining = True
        for run in self._running.values():
            if run.channel is not None and run.endpoint in self._namespace.endless:
                run.channel.cancelled.set()
        await self._close_if_done()

    # ---- what runs

    async def _start(
        self,
        number: Id,
        endpoint: str,
        work: Work,
        fail: Callable[[GatewayError], Awaitable[None]],
        channel: Channel | None = None,
    ) -> None:
        refused = self._refusal(number)
        if refused is not None:
            await (fail(refused) if number not in self._running else self._warn(refused.message, None))
            return
        task = asyncio.create_task(self._guarded(number, work, fail))
        run = self._running[number] = _Run(endpoint, fail, task, channel)
        task.add_done_callback(lambda _: self._forget(number, run))  # one cancelled before it began runs no `finally`

    def _forget(self, number: Id, run: _Run) -> None:
        if self._running.get(number) is run:
            del self._running[number]

    def _refusal(self, number: Id) -> GatewayError | None:
        if number in self._running:
            return InvalidRequest(f"The {number[0]} {number[1]} is open already.")
        if self._draining:
            return SHUTDOWN
        if len(self._running) >= MOST_RUNNING:
            return Overloaded(f"More than {MOST_RUNNING} calls and channels run on this connection.", retry_after=1)
        return None

    async def _guarded(self, number: Id, work: Work, fail: Callable[[GatewayError], Awaitable[None]]) -> None:
        """Run it; whatever it raises, the client hears of it, and of nothing of the inside."""
        try:
            self._peer.context.gateway.admission.recognise(self._peer.key_name)
            await work()
        except GatewayError as error:
            if isinstance(error, InvalidRequest) and error.param is not None:
                await self._warn(f"A parameter is refused: {error.message}", _PARAMETER[number[0]])
            await fail(error)
        except Exception:  # noqa: BLE001 - the last resort: nothing of a defect's inside may reach a client
            structlog.get_logger().exception(
                "unhandled", request_id=self._peer.connection_id, path=f"/{self._namespace.name}"
            )
            await fail(InternalError(f"Internal error; the log knows more under {self._peer.connection_id}."))
        finally:
            self._running.pop(number, None)
        await self._close_if_done()

    async def _close_if_done(self) -> None:
        if self._draining and not self._running:
            await self._wire.close(GOING_DOWN, "the server goes down")

    async def _last_words(self) -> None:
        """What still runs fails with the reason, for as long as the client listens."""
        self._draining = True
        left = tuple(self._running.values())
        await self._end_all()
        try:
            async with asyncio.timeout(LAST_WORDS):
                for run in left:
                    await run.fail(SHUTDOWN)
                await self._wire.close(GOING_DOWN, "the server goes down")
        except TimeoutError:
            self._wire.closed = True

    async def _end_all(self) -> None:
        tasks = [run.task for run in self._running.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._running.clear()

    # ---- what goes wrong

    async def _unknown(self, endpoint: str, kind: str) -> GatewayError:
        """An error besides the warning: with that alone, as the LM Studio app does it, a client waits for ever."""
        message = f"LanHaven has no endpoint {endpoint[:100]!r} in the namespace {self._namespace.name}."
        await self._warn(message, kind)
        return UnsupportedFeature(message, retry=False)

    async def _warn(self, text: str, kind: str | None) -> None:
        if self._warned < MOST_WARNINGS:
            self._warned += 1
            told = {} if kind is None else {"kind": kind}
            await self._wire.send({"type": "communicationWarning", "warning": text, **told})

    def _worded(self, error: GatewayError) -> dict[str, Any]:
        names = [instance.instance_id for _, instance in loaded(self._peer.context.gateway, client=self._peer.key_name)]
        return error_object(error, names)
