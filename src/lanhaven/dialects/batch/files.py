"""/v1/files: what batches read and write."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from lanhaven.dialects.background import BatchLimits
from lanhaven.dialects.base import Call, Handler
from lanhaven.dialects.batch.paging import listed, read_page
from lanhaven.dialects.batch.records import FileRecord
from lanhaven.dialects.batch.shelf import Shelf, disk
from lanhaven.dialects.batch.upload import SLACK, Form
from lanhaven.errors import InternalError, InvalidRequest, NotFound
from lanhaven.wire import encode

PIECE = 256 << 10
SHORTEST, LONGEST = 3600, 2_592_000  # seconds that a client may want a file to be kept


class Files:
    """The files of the key that asks; those of others are not there."""

    def __init__(self, shelf: Shelf, limits: BatchLimits) -> None:
        self._shelf = shelf
        self._limits = limits
        self._coming = 0  # bytes of uploads under way

    def routes(self) -> Mapping[str, Mapping[str, Handler]]:
        """Path -> method -> handler; what ends in "/" takes an id."""
        return {
            "/files": {"POST": self._upload, "GET": self._list},
            "/files/": {"GET": self._read, "DELETE": self._delete},
        }

    async def find(self, file_id: str, owner: str | None) -> FileRecord:
        """NotFound in OpenAI's words."""
        found = await self._shelf.file(file_id, owner or "")
        if found is None:
            raise NotFound(f"No such File object: {file_id[:64]}", param="id", retry=False)
        return found

    async def _upload(self, call: Call) -> None:
        if call.pieces is None:
            raise InternalError("The body of an upload was read already.")
        await self._shelf.purge()
        room = max(0, self._limits.disk_bytes - await self._shelf.taken() - self._coming)
        part = self._shelf.part()
        reserved = min(room, self._limits.file_bytes, _declared(call))
        self._coming += reserved
        try:
            form = Form(call.headers, part, limit=self._limits.file_bytes, room=room)
            await form.read(call.pieces(self._limits.file_bytes + SLACK))
            if form.fields.get("purpose") != "batch":
                raise InvalidRequest("purpose must be batch: other files have no use here.", param="purpose",
                                     retry=False)  # fmt: skip
            record = self._shelf.record(part, call.key_name or "", form.filename, "batch", keep_of(form.fields))
            await self._shelf.add_file(part, record)
        finally:
            self._coming -= reserved
            part.unlink(missing_ok=True)
        await call.reply(200, encode(record.told()))

    async def _list(self, call: Call) -> None:
        page = read_page(call.query, default=10_000, most=10_000)
        found = await self._shelf.files(call.key_name or "", page.purpose, page.after, page.limit + 1, page.up)
        await call.reply(200, encode(listed([each.told() for each in found], page.limit)))

    async def _read(self, call: Call) -> None:
        file_id, _, what = call.path.split("/files/", 1)[1].partition("/")
        record = await self.find(file_id, call.key_name)
        if what == "content":
            await self._content(call, record)
        elif what:
            raise NotFound(f"No such route: {call.path}", retry=False)
        else:
            await call.reply(200, encode(record.told()))

    async def _content(self, call: Call, record: FileRecord) -> None:
        """The file as it is, never held as a whole."""
        with disk("The file"):
            file = await asyncio.to_thread(self._shelf.path(record.id).open, "rb")
        with file:
            call.started = True
            headers = [(b"content-type", b"application/jsonl"), (b"content-length", b"%d" % record.bytes)]
            await call.send({"type": "http.response.start", "status": 200, "headers": headers})
            while piece := await asyncio.to_thread(file.read, PIECE):
                await call.send({"type": "http.response.body", "body": piece, "more_body": True})
        await call.send({"type": "http.response.body", "body": b""})

    async def _delete(self, call: Call) -> None:
        record = await self.find(call.path.split("/files/", 1)[1], call.key_name)
        reader = await self._shelf.reader(record.id)
        if reader is not None:
            raise InvalidRequest(
                f"{record.id} is read by {reader}, which is not over.", hint="cancel the batch first", retry=False
            )
        await self._shelf.delete_file(record.id)
        await call.reply(200, encode({"id": record.id, "object": "file", "deleted": True}))


def _declared(call: Call) -> int:
    length = next((value for name, value in call.headers if name == b"content-length"), b"")
    return int(length) if length.isdigit() and len(length) <= 18 else 0


def keep_of(fields: Mapping[str, Any], names: tuple[str, str] | None = None) -> int | None:
    """Seconds that a file is to be kept, from `expires_after[seconds]` of a form."""
    anchor, seconds = names or ("expires_after[anchor]", "expires_after[seconds]")
    if fields.get(seconds) is None:
        return None
    text = str(fields[seconds])
    in_range = text.isascii() and text.isdigit() and len(text) <= 8 and SHORTEST <= int(text) <= LONGEST
    if not in_range or fields.get(anchor) != "created_at":
        wanted = f"must be {SHORTEST} to {LONGEST} seconds, with the anchor created_at"
        raise InvalidRequest(f"{seconds} {wanted}.", param=seconds, retry=False)
    return int(text)
