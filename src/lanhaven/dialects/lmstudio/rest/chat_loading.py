"""The load that a chat waits for, followed on the bus, and told while it lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

from lanhaven.dialects.base import SSE, Call, Dialect, Handler
from lanhaven.dialects.lmstudio.rest.chat_events import Event, Telling, frame
from lanhaven.errors import GatewayError
from lanhaven.events import GatewayEvent, ModelLoadComplete, ModelLoadProgress, ModelLoadStart
from lanhaven.gateway import Gateway
from lanhaven.types.models import InstanceState
from lanhaven.wire import KEEP_ALIVE


class Voice(Dialect):
    """The dialect of one streamed call: its errors end what has been told so far. What is to be told before the answer
    begins is queued, because the bus does not wait; `speaking` sends it on."""

    name = "lmstudio"
    stream_headers = SSE
    keep_alive = KEEP_ALIVE

    def __init__(self, words: Dialect, telling: Telling) -> None:
        self._words = words
        self._telling = telling
        self._queue: list[bytes] = []
        self._news = asyncio.Event()
        self._over = False

    def routes(self) -> Mapping[str, Mapping[str, Handler]]:
        """Those of the dialect that it speaks for."""
        return self._words.routes()

    def error_body(self, error: GatewayError, request_id: str) -> bytes:
        """Nothing was told yet: an error reply."""
        return self._words.error_body(error, request_id)

    def error_frame(self, error: GatewayError, request_id: str) -> bytes:
        """The last frames: what waits, the error, and the end with what there is."""
        self._over = True
        return b"".join([*self._taken(), *map(frame, self._telling.fails(error))])

    def queue(self, events: Iterable[Event]) -> None:
        if not self._over:
            self._queue += map(frame, events)
            self._news.set()

    def _taken(self) -> list[bytes]:
        queue, self._queue = self._queue, []
        return queue

    @asynccontextmanager
    async def speaking(self, call: Call) -> AsyncIterator[None]:
        """Within the block, what is queued is sent; until `settle`."""
        task = asyncio.create_task(self._speak(call))
        try:
            yield
        finally:
            self._over = True
            task.cancel()
            await asyncio.wait((task,))

    async def _speak(self, call: Call) -> None:
        while not self._over:
            await self._news.wait()
            self._news.clear()
            await call.start()
            if self._queue:
                await call.write(b"".join(self._taken()))

    async def settle(self, call: Call) -> None:
        """The answer begins: what is queued goes first, and nothing is queued any more."""
        self._over = True
        await call.start()
        if self._queue:
            await call.write(b"".join(self._taken()))


class Loading:
    """Listens for the load of one model; of the others that run at the same time it tells nothing.

    instance_id: of the one that is meant, if one is.
    """

    def __init__(
        self, gateway: Gateway, model_key: str, instance_id: str | None, telling: Telling, voice: Voice | None
    ) -> None:
        self._bus = gateway.bus
        self._pool = gateway.pool
        self._model_key = model_key
        self._instance_id = instance_id
        self._telling = telling
        self._voice = voice
        self._followed: str | None = None

    @asynccontextmanager
    async def followed(self, *, cold: bool) -> AsyncIterator[None]:
        """Within the block. `cold`: it will have to load even though an instance is there."""
        mine = [each for each in self._pool.instances() if self._means(each.model_key, each.instance_id)]
        if not cold and any(each.state is InstanceState.READY for each in mine):
            yield
            return
        coming = next((each for each in mine if each.state is InstanceState.LOADING), None)
        if coming is not None and not cold:
            self._begin(coming.instance_id)
        self._bus.listen(self._heard)
        try:
            yield
        finally:
            self._bus.unlisten(self._heard)

    def _means(self, model_key: str, instance_id: str) -> bool:
        return model_key == self._model_key and self._instance_id in (None, instance_id)

    def _heard(self, event: GatewayEvent) -> None:
        match event:
            case ModelLoadStart() if self._followed is None and self._means(event.model_key, event.instance_id):
                self._begin(event.instance_id)
            case ModelLoadProgress(progress=float(progress)) if event.instance_id == self._followed:
                self._tell(self._telling.load_goes_on(progress))
            case ModelLoadComplete() if event.instance_id == self._followed:
                self._tell(self._telling.load_ends(event.seconds))
            case _:
                pass

    def _begin(self, instance_id: str) -> None:
        self._followed = instance_id
        self._tell(self._telling.load_begins(instance_id))

    def _tell(self, events: Iterable[Event]) -> None:
        if self._voice is not None:
            self._voice.queue(events)
        else:
            list(events)  # noted, for the whole answer
