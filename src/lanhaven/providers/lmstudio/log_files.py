"""LM Studio's server log on the disk, `YYYY-MM/YYYY-MM-DD.N.log`: the lines that are added from now on. Blocking.

A day begins a new file and a full file another one (N + 1), a month a new folder. What was there before is not read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

MONTHS_EVERY = 600.0  # seconds between two looks for the folder of a new month
AT_ONCE = 1 << 20  # bytes read in one go; more waits for the next
LONGEST = 1 << 16  # bytes of a line; the rest of a longer one (a body with pictures) is passed over

_MONTH = re.compile(r"\d{4}-\d\d")
_FILE = re.compile(r"(\d{4}-\d\d-\d\d)\.(\d{1,9})\.log")

Place = tuple[str, str, int]  # month, day, number: in the order in which they are written


@dataclass(frozen=True, slots=True)
class Added:
    """Lines without their ends. previous, month: the log went over to another month before them."""

    lines: tuple[str, ...] = ()
    previous: str | None = None
    month: str | None = None


class LogFiles:
    """`poll` says what was added since the last call. A file that gets shorter is read anew."""

    def __init__(self, folder: Path, clock: Callable[[], float] = monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._looked = clock()
        self._place: Place | None = self._newest()
        self._offset, self._inode, self._passing = self._end()
        self._partial = b""

    def poll(self) -> Added:
        """OSError: it is there and cannot be read."""
        if self._place is None:
            self._place = self._newest()
        lines = self._read() if self._place is not None else ()
        if lines or self._place is None:
            return Added(lines)
        following = self._following(self._place)
        if following is None:
            return Added()
        previous, self._place = self._place, following
        self._offset, self._inode, self._partial, self._passing = 0, 0, b"", False
        if previous[0] != following[0]:
            return Added(self._read(), previous[0], following[0])
        return Added(self._read())

    # Reading

    def _read(self) -> tuple[str, ...]:
        try:
            with self._path().open("rb") as file:
                now = os.fstat(file.fileno())
                if now.st_size < self._offset or (self._inode and now.st_ino != self._inode):
                    self._offset, self._partial, self._passing = 0, b"", False
                self._inode = now.st_ino
                file.seek(self._offset)
                data = file.read(AT_ONCE)
        except FileNotFoundError:
            self._offset, self._partial = 0, b""  # another one may get its inode
            return ()
        self._offset += len(data)
        return tuple(self._lines(data))

    def _lines(self, data: bytes) -> list[str]:
        """Cut where bytes are: half a character at the end waits for its rest."""
        *whole, self._partial = (self._partial + data).split(b"\n")
        if whole and self._passing:
            del whole[0]
            self._passing = False
        if len(self._partial) > LONGEST:
            self._partial, self._passing = b"", True
        return [line[:LONGEST].removeprefix(b"\xef\xbb\xbf").decode(errors="replace").rstrip("\r") for line in whole]

    # Which file

    def _path(self) -> Path:
        if self._place is None:
            raise FileNotFoundError(self._folder)
        month, day, number = self._place
        return self._folder / month / f"{day}.{number}.log"

    def _end(self) -> tuple[int, int, bool]:
        """Size and inode of the file, and whether a line is being written there: its rest is passed over."""
        try:
            with self._path().open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 1))
                return size, os.fstat(file.fileno()).st_ino, file.read(1) not in (b"", b"\n")
        except FileNotFoundError:
            return 0, 0, False

    def _newest(self) -> Place | None:
        """Empty folders are passed over: the month's may be made before its first file."""
        found = (max(files) for month in sorted(self._months(), reverse=True) if (files := self._files(month)))
        return next(found, None)

    def _following(self, place: Place) -> Place | None:
        """The next file in the order of writing: of the same month, or now and then of a later one."""
        later = [each for each in self._files(place[0]) if each > place]
        if not later and self._clock() - self._looked >= MONTHS_EVERY:
            self._looked = self._clock()
            later = [each for month in self._months() if month > place[0] for each in self._files(month)]
        return min(later, default=None)

    def _months(self) -> list[str]:
        try:
            return [each.name for each in self._folder.iterdir() if _MONTH.fullmatch(each.name)]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _files(self, month: str) -> list[Place]:
        try:
            names = [each.name for each in (self._folder / month).iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [(month, found[1], int(found[2])) for name in names if (found := _FILE.fullmatch(name))]
