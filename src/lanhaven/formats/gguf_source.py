"""A model file, read forward in bounded steps; and the one error of everything that is wrong with it.

The file is read in blocks, not mapped: if another program shortens a mapped file (`cp` over it does), touching the
lost pages kills the process with SIGBUS.
"""

from __future__ import annotations

import os
import stat
import struct
import sys
from dataclasses import dataclass
from enum import StrEnum
from io import FileIO
from itertools import repeat
from pathlib import Path

from lanhaven.errors import InvalidModelFile

HEADER_LIMIT = 100_000_000  # bytes; a vocabulary of 262,144 with scores takes 8 MB
KEEP_LIMIT = 8 << 20  # bytes of keys and values kept in memory
LONGEST_TEXT = 1 << 20  # longer texts are skipped; chat templates have some 10 kB
MAX_TEXTS = 1 << 21  # over all arrays; the largest known vocabulary with its merges has 0.8 million
_BLOCK = 1 << 20

_U64 = struct.Struct("<Q")

if sys.platform == "win32":
    _OPEN_FLAGS = os.O_RDONLY | os.O_BINARY
else:
    _OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO without a writer would block the open


class Reason(StrEnum):
    """The fixed words of `InvalidModelFile.facts["reason"]`."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    NOT_REGULAR = "not_a_regular_file"
    EMPTY = "empty"
    NOT_GGUF = "not_gguf"
    BIG_ENDIAN = "big_endian"
    VERSION = "unsupported_version"
    TRUNCATED = "truncated"
    OVER_LIMIT = "over_limit"
    MALFORMED = "malformed"
    SPLIT_PART = "split_part"
    SPLIT_MISSING = "split_part_missing"
    SPLIT_MISMATCH = "split_mismatch"


@dataclass(frozen=True, slots=True)
class Skipped:
    """An array or a text that was stepped over: its length in elements or bytes."""

    length: int


def bad(reason: Reason, message: str, **facts: object) -> InvalidModelFile:
    """The error of this package. The message names no path: it may travel to a client."""
    return InvalidModelFile(message, facts={"reason": reason.value, **facts})


def open_regular(path: Path) -> FileIO:
    """Open once, and only a regular file: the check before spares devices the open, the one after cannot be raced."""
    _require_regular(path.stat().st_mode)
    descriptor = os.open(path, _OPEN_FLAGS)
    try:
        _require_regular(os.fstat(descriptor).st_mode)
        return FileIO(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _require_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
        raise bad(Reason.NOT_REGULAR, f"The model file is not a regular file but {what}.")


class Source:
    """Reads forward through the file, one block in memory. No step leaves the file or passes HEADER_LIMIT."""

    __slots__ = ("_at", "_buffer", "_file", "_keep", "_start", "_texts", "size")

    def __init__(self, file: FileIO, size: int) -> None:
        self._file = file
        self._buffer = b""
        self._start = 0  # place of the buffer in the file
        self._at = 0  # place in the buffer; skipping may lead beyond its end
        self._keep = KEEP_LIMIT
        self._texts = MAX_TEXTS
        self.size = size

    @property
    def position(self) -> int:
        return self._start + self._at

    def take(self, count: int) -> bytes:
        """The next `count` bytes; callers bound `count`."""
        if self._at + count > len(self._buffer):
            self._fill(count)
        begin = self._at
        self._at = begin + count
        return self._buffer[begin : self._at]

    def skip(self, count: int) -> None:
        self._check(count)
        self._at += count

    def number(self, kind: struct.Struct) -> int:
        value: int = kind.unpack(self.take(kind.size))[0]
        return value

    def name(self, limit: int) -> str:
        """A string that must be there in full and be UTF-8."""
        length = self.number(_U64)
        if not 0 < length <= limit:
            raise bad(Reason.MALFORMED, f"A name in the model file has {length} bytes (1 to {limit} are allowed).")
        try:
            return self.keep(length).decode()
        except UnicodeDecodeError:
            raise bad(Reason.MALFORMED, "A name in the model file is not UTF-8.") from None

    def text(self) -> str | Skipped:
        length = self.number(_U64)
        if length > min(LONGEST_TEXT, self._keep):
            self.skip(length)
            return Skipped(length)
        return self.keep(length).decode("utf-8", "replace")

    def keep(self, count: int) -> bytes:
        """Like `take`, for what stays in memory afterwards."""
        self._keep -= count
        if self._keep < 0:
            raise bad(Reason.OVER_LIMIT, f"The names and values in the model file's header exceed {KEEP_LIMIT} bytes.")
        return self.take(count)

    def skip_texts(self, count: int) -> None:
        """Step over `count` strings: 0.07 us each (a large vocabulary has 600,000), which is why this is written so."""
        buffer, at, unpack, steps = self._buffer, self._at, _U64.unpack_from, repeat(None, count)
        while True:
            try:
                for _ in steps:
                    at += 8 + unpack(buffer, at)[0]
                break
            except (struct.error, OverflowError):  # the next length is not in this block; its step was taken
                self._at = at
                self._fill(8)
                buffer = self._buffer
                at = 8 + unpack(buffer, 0)[0]
        self._at = at
        self._check(0)

    def spend_texts(self, count: int) -> None:
        self._texts -= count
        if self._texts < 0:
            raise bad(Reason.OVER_LIMIT, f"The model file has more than {MAX_TEXTS} strings in its metadata.")

    def _check(self, count: int) -> None:
        end = self.position + count
        if end > self.size:
            raise bad(Reason.TRUNCATED, "The model file ends in the middle of its header.", file_size=self.size)
        if end > HEADER_LIMIT:
            raise bad(Reason.OVER_LIMIT, f"The header of the model file is longer than {HEADER_LIMIT} bytes.")

    def _fill(self, count: int) -> None:
        self._check(count)
        self._start, self._at = self.position, 0
        self._file.seek(self._start)
        self._buffer = self._file.read(max(count, _BLOCK)) or b""
        if len(self._buffer) < count:  # shortened by somebody since fstat
            raise bad(Reason.TRUNCATED, "The model file became shorter while it was read.")
