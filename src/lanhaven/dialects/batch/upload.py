"""A file from a multipart form, written to the disk as it comes: at no time is more of it held than BLOCK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from lanhaven.dialects.base import Headers
from lanhaven.dialects.batch.shelf import disk
from lanhaven.dialects.forms import FormReader, boundary_of
from lanhaven.errors import InvalidRequest, PayloadTooLarge, StorageFull

BLOCK = 1 << 20
MAX_PARTS = 16
MAX_FIELD = 4 << 10  # bytes of a field that is no file
MAX_NAME = 255
SLACK = 64 << 10  # bytes that a form may have around its file


class Form:
    """One form. limit: bytes that the file may have; room: that are left for it.

    Once read: `fields` is what stands beside the file, `filename` and `size` are the file's.
    """

    def __init__(self, headers: Headers, path: Path, *, limit: int, room: int) -> None:
        self.fields: dict[str, str] = {}
        self.filename = ""
        self.size = 0
        self._path = path
        self._limit, self._room = limit, room
        self._name = ""
        self._is_file = self._had_file = False
        self._value = bytearray()
        self._block: list[bytes] = []
        self._held = 0
        self._reader = FormReader(boundary_of(headers), self, most_parts=MAX_PARTS)

    async def read(self, pieces: AsyncIterator[bytes]) -> None:
        """All of it. InvalidRequest, StorageFull; the file is whole afterwards, or to be thrown away."""
        with disk("The file"):
            file = self._path.open("wb")
        try:
            async for piece in pieces:
                self._reader.feed(piece)
                if self._held >= BLOCK:
                    await asyncio.to_thread(self._write, file)
            await asyncio.to_thread(self._write, file)
        finally:
            with disk("The file"):
                file.close()
        self._reader.close()
        if not self._had_file:
            raise InvalidRequest("The form has no file.", param="file", retry=False)

    def _write(self, file: BinaryIO) -> None:
        block, self._block, self._held = self._block, [], 0
        with disk("The file"):
            file.writelines(block)
            file.flush()

    # ---- the parts, as the reader tells them

    def begin_part(self, name: str, filename: str | None) -> None:
        """See `Receiver`."""
        self._name, self._value = name, bytearray()
        self._is_file = name == "file"
        if self._is_file:
            if self._had_file:
                raise InvalidRequest("The form has more than one file.", param="file", retry=False)
            self._had_file = True
            self.filename = (filename or "").replace("\\", "/").rpartition("/")[2][:MAX_NAME] or "file"

    def part_data(self, data: bytes, start: int, end: int) -> None:
        if not self._is_file:
            self._value += data[start:end]
            if len(self._value) > MAX_FIELD:
                raise InvalidRequest(f"{self._name[:64]} is too long.", param=self._name[:64], retry=False)
            return
        self.size += end - start
        self._held += end - start
        self._block.append(data[start:end])
        if self.size > self._limit:
            raise PayloadTooLarge(f"The file is over the limit of {self._limit} bytes.", param="file", retry=False)
        if self.size > self._room:
            raise StorageFull(
                "The files of batches take as much of the disk as they may.",
                hint="delete files that are no longer needed, or raise batch_disk_bytes",
            )

    def end_part(self) -> None:
        if not self._is_file:
            self.fields[self._name] = self._value.decode("utf-8", "replace")
