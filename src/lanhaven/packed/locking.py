"""A lock between processes: a file that the operating system frees when its holder dies."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_PAUSE = 0.2  # seconds between tries; blocking in the call could not be interrupted on Windows

if sys.platform == "win32":
    import msvcrt

    def _try(file: BinaryIO) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of the file `path` (made if missing, never removed); `waiting` comes before every further try."""
    with path.open("ab") as file:
        while True:
            try:
                _try(file)
                break
            except (BlockingIOError, PermissionError):  # Windows says "permission denied"
                waiting()
                time.sleep(_PAUSE)
        yield
