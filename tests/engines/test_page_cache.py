"""Reading ahead, and counting cores."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from lanhaven.engines.cores import physical_cores
from lanhaven.engines.page_cache import BLOCK, read_through

pytestmark = pytest.mark.anyio
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is cached")

Cold = Callable[[int], Path]


@pytest.fixture
def cold(tmp_path: Path) -> Cold:
    """Makes files that are not in the page cache; skips where the file system keeps everything in memory."""

    def make(size: int) -> Path:
        path = tmp_path / f"{size}"
        with path.open("wb") as file:
            for _ in range(size // BLOCK):
                file.write(os.urandom(1 << 16) * (BLOCK >> 16))
            file.flush()
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return path

    return make


@LINUX
async def test_a_cold_file_is_read_with_progress_and_then_it_is_warm(cold: Cold) -> None:
    paths = [cold(4 * BLOCK), cold(2 * BLOCK)]
    fractions: list[float] = []
    if not await read_through(paths, 1 << 40, fractions.append):
        pytest.skip("this file system does not forget, or does not tell")
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len(fractions) == 6
    assert not await read_through(paths, 1 << 40, fractions.append)
    assert len(fractions) == 6


@LINUX
async def test_a_file_larger_than_the_room_is_left_alone(cold: Cold) -> None:
    assert not await read_through([cold(2 * BLOCK)], BLOCK, lambda fraction: None)


async def test_a_file_that_is_gone_is_left_to_the_engine(tmp_path: Path) -> None:
    assert not await read_through([tmp_path / "absent"], 1 << 40, lambda fraction: None)


@LINUX
async def test_cancelling_stops_the_reading(cold: Cold) -> None:
    fractions: list[float] = []

    def tell(fraction: float) -> None:
        fractions.append(fraction)
        reading.cancel()

    reading = asyncio.ensure_future(read_through([cold(16 * BLOCK)], 1 << 40, tell))
    await asyncio.wait({reading})
    if not fractions:
        pytest.skip("this file system does not forget, or does not tell")
    assert reading.cancelled()
    for thread in threading.enumerate():
        if thread.name == "page-cache":
            await asyncio.to_thread(thread.join)
    assert max(fractions) < 1.0


@pytest.mark.parametrize(
    ("text", "most"),
    [("max 100000", 1 << 20), ("100000 100000", 1), ("150000 100000", 2), ("1000 100000", 1), ("nonsense", 1 << 20)],
)
def test_a_containers_share_bounds_the_threads(tmp_path: Path, text: str, most: int) -> None:
    limit = tmp_path / "cpu.max"
    limit.write_text(text)
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    assert physical_cores(limit) == min(most, cores, physical_cores(tmp_path / "absent"))
    assert physical_cores(limit) >= 1
