"""The work of one batch, from its check to its files.

What was answered is on the disk at once: whatever ends the server, the next one goes on behind it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from lanhaven.dialects.batch.asking import Answer, Asked, Asker
from lanhaven.dialects.batch.lines import Line, Lines, check, requests, write_undone
from lanhaven.dialects.batch.records import BatchRecord, FileRecord, LineError, Status
from lanhaven.dialects.batch.shelf import Shelf
from lanhaven.dialects.batch.turns import Turns
from lanhaven.errors import GatewayError, ServerShutdown
from lanhaven.store import new_id
from lanhaven.wire import encode, read_object

DELAYS = (1.0, 4.0, 15.0, 60.0)  # seconds before a request is repeated that came at a wrong moment
TRANSIENT = (429, 503)
LONGEST_WAIT = 120.0  # for another attempt; a key's limit for a day ends the request
UNDONE = {
    Status.EXPIRED: ("batch_expired", "The time of the batch was over before this request's turn."),
    Status.CANCELLED: ("batch_cancelled", "The batch was cancelled before this request's turn."),
}


class BatchWork:
    """`record` is the batch as it is now; nobody else changes it."""

    def __init__(
        self,
        record: BatchRecord,
        shelf: Shelf,
        asker: Asker,
        turns: Turns,
        *,
        concurrency: int,
        delays: tuple[float, ...] = DELAYS,
    ) -> None:
        self.record = record
        self._shelf = shelf
        self._asker = asker
        self._turns = turns
        self._concurrency = concurrency
        self._delays = delays
        self._answering: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """To its end. Cancelled, or at the end of the server, it stays as it is."""
        record = self.record
        try:
            if record.status is Status.VALIDATING:
                await self._validate()
            if record.status is Status.IN_PROGRESS:
                await self._answer_all()
            if not record.status.over:
                await self._finish()
        except ServerShutdown:
            return
        except GatewayError as error:
            await self._fail([LineError(error.code, error.message)])

    async def cancel(self) -> None:
        """End it early; what was answered stays answered. Does nothing to one that is ending."""
        if self.record.status in (Status.VALIDATING, Status.IN_PROGRESS):
            await self._become(Status.CANCELLING)
            if self._answering is not None:
                self._answering.cancel()

    @property
    def _input(self) -> Path:
        return self._shelf.path(self.record.input_file_id)

    async def _become(self, status: Status) -> None:
        self.record.become(status, self._shelf.now)
        await self._shelf.save(self.record)

    async def _validate(self) -> None:
        found = await asyncio.to_thread(check, self._input, self.record.endpoint)
        if self.record.status is not Status.VALIDATING:
            return  # cancelled meanwhile
        self.record.total, self.record.model = found.total, found.model
        if found.errors:
            await self._fail(found.errors)
        else:
            await self._become(Status.IN_PROGRESS)

    async def _fail(self, errors: list[LineError]) -> None:
        self.record.errors = errors
        self.record.become(Status.FAILED, self._shelf.now)
        await self._shelf.finish(self.record, [])

    # ---- answers

    async def _answer_all(self) -> None:
        done = await self._shelf.done(self.record.id)
        if self.record.status is not Status.IN_PROGRESS:
            return  # cancelled meanwhile
        lines = Lines(requests(self._input, self.record.endpoint, done))
        task = self._answering = asyncio.create_task(self._lanes(lines))
        try:
            await asyncio.wait([task], timeout=max(0, self.record.expires_at - self._shelf.now))
        finally:
            task.cancel()  # no effect on one that is done
            await asyncio.wait([task])
            self._answering = None
        if not task.cancelled():
            task.result()

    async def _lanes(self, lines: Lines) -> None:
        lanes = [asyncio.create_task(self._lane(lines)) for _ in range(self._concurrency)]
        try:
            await asyncio.gather(*lanes)
        finally:
            for lane in lanes:
                lane.cancel()
            await asyncio.wait(lanes)

    async def _lane(self, lines: Lines) -> None:
        while (line := await lines.next()) is not None:
            request_id = new_id("batch_req")
            answer = await self._answer(line, request_id)
            body = read_object(answer.body)
            self.record.count(answer.ok, body.get("usage") or {})
            result = _result(line, request_id, answer)
            await asyncio.shield(self._shelf.put_result(self.record, line.number, answer.ok, result))

    async def _answer(self, line: Line, request_id: str) -> Answer:
        model = line.body.get("model")
        asked = Asked(self.record.endpoint, line.body, request_id, self.record.endpoint, self.record.owner or None)
        for delay in (*self._delays, None):
            async with self._turns.turn(model if isinstance(model, str) else None):
                answer = await self._asker.ask(asked)
            if answer.code == ServerShutdown.code:
                raise ServerShutdown("The server goes down.")
            if delay is None or answer.status not in TRANSIENT or (answer.retry_after or 0) > LONGEST_WAIT:
                break
            await asyncio.sleep(max(delay, answer.retry_after or 0))
        return answer

    # ---- the end

    async def _finish(self) -> None:
        record = self.record
        left = record.total > record.completed + record.failed
        end = Status.CANCELLED if record.cancelling_at else Status.EXPIRED if left else Status.COMPLETED
        if record.status is Status.IN_PROGRESS:
            await self._become(Status.FINALIZING)
        made = [await self._write(ok=True, end=end), await self._write(ok=False, end=end)]
        try:
            record.output_file_id, record.error_file_id = (None if each is None else each[1].id for each in made)
            record.become(end, self._shelf.now)
            await self._shelf.finish(record, [each for each in made if each is not None])
        finally:
            for each in made:
                if each is not None:
                    each[0].unlink(missing_ok=True)

    async def _write(self, *, ok: bool, end: Status) -> tuple[Path, FileRecord] | None:
        """A file with the results of one kind; None if there are none. The caller unlinks what is left of it."""
        record = self.record
        part = self._shelf.part()
        await self._shelf.write_results(record.id, ok, part)
        if not ok and end in UNDONE and record.total:
            done = await self._shelf.done(record.id)
            await asyncio.to_thread(write_undone, part, self._input, record.endpoint, done, *UNDONE[end])
        name = f"{record.id}_{'output' if ok else 'error'}.jsonl"
        made = self._shelf.record(part, record.owner, name, "batch_output", record.keep)
        if made.bytes == 0:
            part.unlink()
            return None
        return part, made

    def __repr__(self) -> str:
        record = self.record
        return f"BatchWork({record.id} {record.status} {record.completed}+{record.failed} of {record.total})"


def _result(line: Line, request_id: str, answer: Answer) -> bytes:
    response = {"status_code": answer.status, "request_id": request_id, "body": msgspec.Raw(answer.body)}
    return encode({"id": request_id, "custom_id": line.custom_id, "response": response, "error": None})
