"""The processes that read images: a few, started when first needed, each with one image at a time.

One that hangs, breaks a bound or is asked by somebody who left is killed, and the next image gets a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lanhaven.errors import Overloaded, ServerShutdown
from lanhaven.media.frames import PREFIX, frame, sizes
from lanhaven.types.images import Sizing

BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """How one is started, and how many there may be. Seconds.

    seconds: for one image, the start of its process counted. idle: after which one that has nothing to do ends.
    """

    command: Sequence[str]
    env: Mapping[str, str]
    most: int = 2
    seconds: float = 20.0
    idle: float = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an image. refused: one word, or "". data: Base64; None: the text that was sent will do."""

    refused: str = ""
    mime: str = ""
    width: int = 0
    height: int = 0
    data: bytes | None = None


class Workers:
    """All of them. To be used from one event loop."""

    def __init__(self, plan: WorkerPlan) -> None:
        self._plan = plan
        self._places = asyncio.Semaphore(plan.most)
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"Workers({len(self._busy)} busy, {len(self._idle)} idle)"

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the processes that live now."""
        return tuple(worker.process.pid for worker in (*self._idle, *self._busy))

    async def read(self, payload: bytes, *, base64: bool, most_pixels: int, sizing: Sizing) -> Answer:
        """Have an image read. `payload` is the image, or its Base64. Overloaded if no process can be started."""
        job = {"base64": base64, "most_pixels": most_pixels, **asdict(sizing)}
        async with self._places:
            try:
                async with asyncio.timeout(self._plan.seconds):
                    worker = await self._take()
                    return await self._asked(worker, job, payload)
            except TimeoutError:
                return Answer("slow")

    async def _take(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            worker.forget.cancel()
            if worker.process.returncode is None:
                return worker
            self._end(worker)  # somebody killed it
        if self._closed:
            raise ServerShutdown("The server is going down.", retry_after=5)
        plan = self._plan
        try:
            process = await asyncio.create_subprocess_exec(
                *plan.command,
                stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=dict(plan.env), start_new_session=True, limit=BUFFER,
            )  # fmt: skip
        except OSError as error:
            raise Overloaded("The process that reads images cannot be started.", retry_after=5) from error
        return _Worker(process)

    async def _asked(self, worker: _Worker, job: Mapping[str, Any], payload: bytes) -> Answer:
        self._busy.add(worker)
        answer = None
        try:
            answer = await worker.ask(job, payload)
        finally:
            self._busy.discard(worker)
            if answer is None or self._closed:
                self._end(worker)
            else:
                self._idle.append(worker)
                worker.forget = asyncio.get_running_loop().call_later(self._plan.idle, self._retire, worker)
        return answer or Answer("costs")

    def _retire(self, worker: _Worker) -> None:
        if worker in self._idle:
            self._idle.remove(worker)
            self._end(worker)

    def _end(self, worker: _Worker) -> None:
        task = asyncio.get_running_loop().create_task(worker.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def aclose(self) -> None:
        """End them all, also in the midst of an image. Idempotent."""
        self._closed = True
        for worker in (*self._idle, *self._busy):
            worker.forget.cancel()
            self._end(worker)
        self._idle.clear()
        while self._ending:
            await asyncio.gather(*self._ending)


class _Worker:
    """A process and its pipes."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.forget: asyncio.Handle = asyncio.get_running_loop().call_soon(lambda: None)

    async def ask(self, job: Mapping[str, Any], payload: bytes) -> Answer | None:
        """None if it died of the image."""
        source, out = self.process.stdin, self.process.stdout
        if source is None or out is None:
            return None
        try:
            source.write(frame(job, len(payload)))
            source.write(payload)
            await source.drain()
            head_size, data_size = sizes(await out.readexactly(PREFIX.size))
            told = json.loads(await out.readexactly(head_size))
            data = await out.readexactly(data_size)
        except (OSError, asyncio.IncompleteReadError, ValueError):
            return None
        if "refused" in told:
            return Answer(told["refused"])
        return Answer("", told["mime"], told["width"], told["height"], None if told["same"] else data)

    async def end(self) -> None:
        """Kill it, and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        if self.process.stdin is not None:
            self.process.stdin.close()
        if self.process.stdout is not None:
            with contextlib.suppress(OSError):
                await self.process.stdout.read()  # to its end: until then the transport stays open
        await self.process.wait()
