"""Reading a model file once before it is loaded, so that a load from a cold disk has a progress to show.

llama.cpp maps the file and has no callback; its pages come in while the first pass computes, unseen. Reading it through
in large blocks is also faster than page faults are.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

BLOCK = 8 << 20
SAMPLES = 64
COLD = 0.05  # share of the samples outside the page cache from which reading is worth while
STEP = 0.01  # share of the file between two reports


async def read_through(paths: Sequence[Path], room: int, on_fraction: Callable[[float], None]) -> bool:
    """Bring files into the page cache; whether there was anything to do.

    Nothing is done if they are there already, if that cannot be known, or if they have more than `room` bytes: they
    would push themselves out again. `on_fraction` gets 0..1 in the event loop's thread. A file that cannot be read is
    left to the engine to complain about. Cancelling stops the reading within one block.
    """
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    stop = threading.Event()

    def settle(read: bool) -> None:
        if not done.done():
            done.set_result(read)

    def work() -> None:
        read = _read(paths, room, stop, lambda fraction: _call(loop, on_fraction, fraction))
        _call(loop, settle, read)

    # A thread of its own: a read from a dead network disk never returns, and must not hold up the executor's end.
    threading.Thread(target=work, name="page-cache", daemon=True).start()
    try:
        return bool(await done)
    finally:
        stop.set()


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], argument: object) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(function, argument)


def _read(paths: Sequence[Path], room: int, stop: threading.Event, report: Callable[[float], None]) -> bool:
    try:
        total = sum(path.stat().st_size for path in paths)
        if not 0 < total <= room or not any(_cold(path) for path in paths):
            return False
        read, told = 0, 0.0
        block = bytearray(BLOCK)
        for path in paths:
            with path.open("rb", buffering=0) as file:
                while not stop.is_set() and (count := file.readinto(block)):
                    read += count
                    if read / total >= told + STEP:
                        told = min(1.0, read / total)
                        report(told)
    except OSError:
        return False
    return True


def _cold(path: Path) -> bool:
    """Whether much of the file is outside the page cache, by asking for some places without waiting for the disk."""
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        missing = sum(not _cached(file.fileno(), size * n // SAMPLES) for n in range(SAMPLES))
    return missing > COLD * SAMPLES


def _cached(fd: int, offset: int) -> bool:
    """OSError where the file system cannot say (tmpfs: it lies in memory anyway), nor the operating system."""
    if sys.platform == "linux":
        try:
            os.preadv(fd, [bytearray(1)], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
    else:
        raise OSError("only Linux can say")
    return True
