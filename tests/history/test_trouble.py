"""A history whose disk is full, or whose file is damaged, disturbs nobody, and goes on by itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import CapturedCall, CapturingLogger

from lanhaven.errors import GatewayError
from lanhaven.history import History, HistoryLimits
from lanhaven.history.history import HELD
from lanhaven.history.listing import Asked
from tests.disks import fill, small_disk
from tests.history.rows import NOON, begun, tell

pytestmark = pytest.mark.anyio


@pytest.fixture
def told() -> Iterator[list[CapturedCall]]:
    """The entries of the log."""
    log = CapturingLogger()
    structlog.configure(processors=[lambda logger, method, fields: fields], logger_factory=lambda *_: log)
    yield log.calls
    structlog.reset_defaults()


def opened(folder: Path) -> History:
    return History(folder / "history.sqlite3", HistoryLimits(), lambda: (0, 0, 0), now=lambda: NOON * 10**9)


async def ids(history: History) -> list[str]:
    return [row["requestId"] for row in (await history.requests(Asked()))["requests"]]


@pytest.mark.req("F-173")
async def test_a_full_disk_is_told_once_and_nothing_is_lost_when_there_is_room_again(
    tmp_path: Path, told: list[CapturedCall]
) -> None:
    with small_disk(tmp_path / "disk", "512k") as folder:
        history = opened(folder)
        tell(history, "r1", NOON)
        assert await history.write()
        filler = fill(folder)
        for number in range(2, 400):
            tell(history, f"r{number}", NOON)
            if number % 100 == 0:
                assert not await history.write()
        assert [call.kwargs["event"] for call in told] == ["history_not_kept"]
        assert len(await ids(history)) == 1  # what is there can be read
        filler.unlink()
        assert await history.write()
        assert len((await history.requests(Asked(limit=1000)))["requests"]) == 399
        await history.aclose()


async def test_what_waits_for_a_disk_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    history = opened(tmp_path / "file")
    for number in range(HELD + 50):
        tell(history, f"r{number}", NOON)
    assert not await history.write()
    assert f"{HELD} to be written" in repr(history)
    await history.aclose()


@pytest.mark.parametrize("hole", [(0, 100), (4096, 200_000)], ids=["its head", "its middle"])
async def test_a_damaged_file_is_set_aside(tmp_path: Path, hole: tuple[int, int]) -> None:
    first = opened(tmp_path)
    for number in range(500):
        tell(first, f"r{number}", NOON)
    await first.write()
    await first.aclose()
    with (tmp_path / "history.sqlite3").open("r+b") as file:
        file.seek(hole[0])
        file.write(b"\xff" * hole[1])
    again = opened(tmp_path)
    tell(again, "new", NOON)
    await again.write()
    assert await again.write()  # the first try may be the one that finds the damage
    assert await ids(again) == ["new"]
    assert (tmp_path / "history.sqlite3.damaged").exists()
    await again.aclose()


async def test_a_crash_loses_only_what_was_not_written(tmp_path: Path) -> None:
    history = opened(tmp_path)
    tell(history, "r1", NOON)
    await history.write()
    tell(history, "r2", NOON)
    history.began(begun("r3", NOON))
    with sqlite3.connect(tmp_path / "history.sqlite3") as database:  # as the next start would find it
        assert database.execute("SELECT id FROM requests").fetchall() == [("r1",)]
    database.close()
    await history.aclose()


async def test_a_file_of_another_version_is_set_aside(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "history.sqlite3") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    history = opened(tmp_path)
    tell(history, "r1", NOON)
    assert await ids(history) == ["r1"]
    await history.aclose()
    with pytest.raises(GatewayError):
        await history.requests(Asked())
