"""A file from a multipart form, written to the disk as it comes: at no time is more of it held than BLOCK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from lanhaven.dialects.base import Headers
from lanhaven.dialects.batch.shelf import disk
from lanhaven.errors import InvalidRequest, PayloadTooLarge, StorageFull, UnsupportedMediaType

BLOCK = 1 << 20
MAX_PARTS = 16
MAX_FIELD = 4 << 10  # bytes: of a field that is no file, and of a part's headers
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
        self._parts = 0
        self._name = ""
        self._is_file = self._had_file = False
        self._header = (bytearray(), bytearray())
        self._disposition = b""
        self._value = bytearray()
        self._block: list[bytes] = []
        self._held = 0
        self._ended = False
        self._parser = MultipartParser(
            boundary_of(headers),
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._more(0, data[start:end]),
                "on_header_value": lambda data, start, end: self._more(1, data[start:end]),
                "on_header_end": self._header_end,
                "on_headers_finished": self._open_part,
                "on_part_data": self._data,
                "on_part_end": self._close_part,
                "on_end": self._end,
            },
        )

    async def read(self, pieces: AsyncIterator[bytes]) -> None:
        """All of it. InvalidRequest, StorageFull; the file is whole afterwards, or to be thrown away."""
        with disk("The file"):
            file = self._path.open("wb")
        try:
            async for piece in pieces:
                self._feed(piece)
                if self._held >= BLOCK:
                    await asyncio.to_thread(self._write, file)
            await asyncio.to_thread(self._write, file)
        finally:
            with disk("The file"):
                file.close()
        if not self._ended:
            raise _malformed("it ends too early")
        if not self._had_file:
            raise InvalidRequest("The form has no file.", param="file", retry=False)

    def _feed(self, piece: bytes) -> None:
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise _malformed(str(error).rstrip(".")) from None

    def _write(self, file: BinaryIO) -> None:
        block, self._block, self._held = self._block, [], 0
        with disk("The file"):
            file.writelines(block)
            file.flush()

    # ---- callbacks of the parser

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise _malformed(f"it has more than {MAX_PARTS} parts")
        self._disposition, self._value = b"", bytearray()

    def _more(self, which: int, data: bytes) -> None:
        self._header[which].extend(data)
        if len(self._header[which]) > MAX_FIELD:
            raise _malformed("a header is too long")

    def _header_end(self) -> None:
        name, value = (bytes(each) for each in self._header)
        self._header = (bytearray(), bytearray())
        if name.lower() == b"content-disposition":
            self._disposition = value

    def _open_part(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = self._name == "file"
        if self._is_file:
            if self._had_file:
                raise InvalidRequest("The form has more than one file.", param="file", retry=False)
            self._had_file = True
            name = options.get(b"filename", b"file").decode("utf-8", "replace")
            self.filename = name.replace("\\", "/").rpartition("/")[2][:MAX_NAME] or "file"

    def _data(self, data: bytes, start: int, end: int) -> None:
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

    def _close_part(self) -> None:
        if not self._is_file:
            self.fields[self._name] = self._value.decode("utf-8", "replace")

    def _end(self) -> None:
        self._ended = True


def boundary_of(headers: Headers) -> bytes:
    """UnsupportedMediaType for anything but a multipart form."""
    value = next((value for name, value in headers if name == b"content-type"), b"")
    kind, options = parse_options_header(value)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 256:
        raise UnsupportedMediaType("Content-Type must be multipart/form-data, with a boundary.")
    return boundary


def _malformed(why: str) -> InvalidRequest:
    return InvalidRequest(f"The form cannot be read: {why}.", retry=False)
