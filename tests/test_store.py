"""The store: kept over a restart, bounded, everybody's own."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from lanhaven.errors import InternalError, PayloadTooLarge, StorageFull
from lanhaven.store import DAMAGED, FILE_NAME, Store, StoreLimits, new_id

pytestmark = pytest.mark.anyio


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def opened(folder: Path, clock: Clock | None = None, **limits: float) -> AsyncIterator[Store]:
    store = Store(folder / FILE_NAME, StoreLimits(**limits), clock=clock or Clock())  # type: ignore[arg-type]
    try:
        yield store
    finally:
        await store.aclose()


async def test_what_was_put_is_there_after_a_restart(tmp_path: Path) -> None:
    body = bytes(range(256))
    async with opened(tmp_path) as store:
        await store.put("resp_1", "chat", b"old")
        await store.put("resp_1", "chat", body)
    async with opened(tmp_path) as store:
        assert await store.get("resp_1", "chat") == body
        assert await store.get("resp_1", "other") is None
        assert await store.get("resp_2", "chat") is None


async def test_another_owner_can_neither_read_nor_delete(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.put("resp_1", "chat", b"mine", owner="anna")
        assert await store.get("resp_1", "chat", owner="bert") is None
        assert await store.get("resp_1", "chat") is None
        assert not await store.delete("resp_1", "chat", owner="bert")
        await store.put("resp_1", "chat", b"another", owner="bert")
        assert await store.get("resp_1", "chat", owner="anna") == b"mine"
        assert await store.delete("resp_1", "chat", owner="anna")
        assert await store.get("resp_1", "chat", owner="anna") is None


async def test_what_is_too_old_is_gone(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock, max_age=100) as store:
        await store.put("first", "chat", b"1")
        clock.now += 99
        assert await store.get("first", "chat") == b"1"
        clock.now += 2
        assert await store.get("first", "chat") is None
        await store.put("second", "chat", b"2")
    with sqlite3.connect(tmp_path / FILE_NAME) as database:
        assert database.execute("SELECT id FROM kept").fetchall() == [("second",)]
    database.close()


async def test_the_oldest_make_room(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock, max_bytes=100) as store:
        for number in range(5):
            clock.now += 1
            await store.put(f"{number}", "chat", b"x" * 30)
        assert [await store.get(f"{number}", "chat") is not None for number in range(5)] == [
            False,
            False,
            True,
            True,
            True,
        ]
        with pytest.raises(PayloadTooLarge):
            await store.put("huge", "chat", b"x" * 101)
        await store.put("all", "chat", b"x" * 100)
        assert await store.get("4", "chat") is None
        assert await store.get("all", "chat") is not None


async def test_only_this_user_may_read_the_file(tmp_path: Path) -> None:
    async with opened(tmp_path / "new") as store:
        await store.put("1", "chat", b"secret")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").iterdir()}
    assert set(modes.values()) == {0o600}
    assert set(modes) >= {FILE_NAME, f"{FILE_NAME}-wal"}


@pytest.mark.parametrize("content", [b"this is no database at all, but long enough to be one\n" * 100])
async def test_a_damaged_file_is_set_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    async with opened(tmp_path) as store:
        await store.put("1", "chat", b"new")
        assert await store.get("1", "chat") == b"new"
    assert (tmp_path / (FILE_NAME + DAMAGED[0])).read_bytes() == content


async def test_the_second_file_that_is_set_aside_does_not_take_the_place_of_the_first(tmp_path: Path) -> None:
    """As when somebody goes back a version, and forth again: what he had is in the first one."""
    for content in (b"first " * 100, b"second " * 100, b"third " * 100, b"fourth " * 100):
        (tmp_path / FILE_NAME).write_bytes(content)
        async with opened(tmp_path) as store:
            await store.put("1", "chat", b"new")
    kept = [(tmp_path / (FILE_NAME + ending)).read_bytes()[:6] for ending in DAMAGED]
    assert kept == [b"first ", b"second", b"fourth"]


async def test_a_full_disk_is_told(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.put("1", "chat", b"x")
        await store._database.run(lambda database: database.execute("PRAGMA max_page_count = 8"))
        with pytest.raises(StorageFull):
            await store.put("2", "chat", b"x" * 100_000)
        assert await store.get("1", "chat") == b"x"


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with opened(tmp_path / "file") as store:
        with pytest.raises(InternalError, match="cannot be opened"):
            await store.put("1", "chat", b"x")


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        pass
    assert not (tmp_path / FILE_NAME).exists()  # nothing was ever needed
    await store.aclose()
    with pytest.raises(InternalError):
        await store.get("1", "chat")


async def test_many_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(store.put, f"{number}", "chat", b"%d" % number)
        assert [await store.get(f"{number}", "chat") for number in range(50)] == [
            b"%d" % number for number in range(50)
        ]


def test_ids_are_not_guessed() -> None:
    first, second = new_id("resp"), new_id("resp")
    assert first != second
    assert first.startswith("resp_")
    assert len(first) == len("resp_") + 32
