"""A lock between processes that is waited for as long as it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lanhaven.config.atomic import try_lock

_PAUSE = 0.2  # seconds between tries; blocking in the call could not be interrupted on Windows


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of the file `path` (made if missing, never removed); `waiting` comes before every further try."""
    with path.open("ab") as file:
        while not try_lock(file.fileno()):
            waiting()
            time.sleep(_PAUSE)
        yield
