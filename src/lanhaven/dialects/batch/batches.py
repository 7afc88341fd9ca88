"""/v1/batches: what is to be done with a file, and how far it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lanhaven.dialects.base import Call, Handler
from lanhaven.dialects.batch.files import Files, keep_of
from lanhaven.dialects.batch.paging import listed, read_page
from lanhaven.dialects.batch.records import BatchRecord
from lanhaven.dialects.batch.shelf import Shelf
from lanhaven.dialects.batch.worker import Worker
from lanhaven.errors import InvalidRequest, NotFound
from lanhaven.store import new_id
from lanhaven.wire import encode, read_strict

WINDOW = re.compile(r"(\d{1,4})([mhd])", re.ASCII)
UNITS = {"m": 60, "h": 3600, "d": 86_400}
LONGEST_WINDOW = 30 * 86_400
MAX_PAIRS, MAX_NAME, MAX_VALUE = 16, 64, 512


class Batches:
    """The batches of the key that asks; those of others are not there."""

    def __init__(self, shelf: Shelf, files: Files, worker: Worker, endpoints: tuple[str, ...]) -> None:
        self._shelf = shelf
        self._files = files
        self._worker = worker
        self._endpoints = endpoints

    def routes(self) -> Mapping[str, Mapping[str, Handler]]:
        """Path -> method -> handler; what ends in "/" takes an id."""
        return {
            "/batches": {"POST": self._create, "GET": self._list},
            "/batches/": {"GET": self._read, "POST": self._cancel},
        }

    async def _create(self, call: Call) -> None:
        body = read_strict(call.body)
        endpoint, file_id = body.get("endpoint"), body.get("input_file_id")
        if endpoint not in self._endpoints:
            raise _wrong("endpoint", f"must be {', '.join(self._endpoints)}")
        if not isinstance(file_id, str):
            raise _wrong("input_file_id", "must be the id of a file")
        window = body.get("completion_window", "24h")
        seconds, metadata, keep = _window(window), _metadata(body.get("metadata")), _keep(body)
        await self._shelf.purge()
        file = await self._files.find(file_id, call.key_name)
        if file.purpose != "batch":
            raise _wrong("input_file_id", "must be a file with the purpose batch")
        record = BatchRecord(
            id=new_id("batch"),
            owner=call.key_name or "",
            endpoint=endpoint,
            input_file_id=file.id,
            completion_window=window,
            created_at=self._shelf.now,
            expires_at=self._shelf.now + seconds,
            metadata=metadata,
            keep=keep,
        )
        made = encode(record.told())
        await self._worker.add(record)
        await call.reply(200, made)

    async def _list(self, call: Call) -> None:
        page = read_page(call.query, default=20, most=100)
        found = await self._shelf.batches(call.key_name or "", page.after, page.limit + 1)
        await call.reply(200, encode(listed([each.told() for each in found], page.limit)))

    async def _read(self, call: Call) -> None:
        record = await self._find(call.path.split("/batches/", 1)[1], call)
        await call.reply(200, encode(record.told()))

    async def _cancel(self, call: Call) -> None:
        batch_id, _, what = call.path.split("/batches/", 1)[1].partition("/")
        if what != "cancel":
            raise NotFound(f"No such route: {call.path}", retry=False)
        record = await self._find(batch_id, call)
        if record.status.over:
            raise InvalidRequest(f"Cannot cancel a batch with status '{record.status}'.", retry=False)
        cancelled = await self._worker.cancel(record)
        await call.reply(200, encode(cancelled.told()))

    async def _find(self, batch_id: str, call: Call) -> BatchRecord:
        found = await self._shelf.batch(batch_id, call.key_name or "")
        if found is None:
            raise NotFound(f"No batch found with id '{batch_id[:64]}'.", param="id", retry=False)
        return found


def _window(value: Any) -> int:
    """Seconds."""
    match = WINDOW.fullmatch(value) if isinstance(value, str) else None
    seconds = int(match[1]) * UNITS[match[2]] if match else 0
    if not 0 < seconds <= LONGEST_WINDOW:
        raise _wrong("completion_window", "must be a time like 24h, 90m or 7d, at most 30d")
    return seconds


def _metadata(value: Any) -> dict[str, str] | None:
    if value is None:
        return None
    good = isinstance(value, dict) and len(value) <= MAX_PAIRS
    if not good or not all(isinstance(each, str) and len(each) <= MAX_VALUE for each in value.values()):
        raise _wrong("metadata", f"must be an object with at most {MAX_PAIRS} texts of {MAX_VALUE} characters")
    if not all(len(name) <= MAX_NAME for name in value):
        raise _wrong("metadata", f"must have names of at most {MAX_NAME} characters")
    return dict(value)


def _keep(body: dict[str, Any]) -> int | None:
    wanted = body.get("output_expires_after")
    if wanted is None:
        return None
    if not isinstance(wanted, dict):
        raise _wrong("output_expires_after", "must be an object")
    return keep_of(wanted, ("anchor", "seconds"))


def _wrong(name: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"{name} {what}.", param=name, retry=False)
