"""What is kept over requests: bodies under an id, in one SQLite file, bounded in age and size.

    store = Store(data_dir / "store.sqlite3")
    await store.put(new_id("resp"), "lmstudio.chat", body, owner="laptop")
    body = await store.get("resp_...", "lmstudio.chat", owner="laptop")     None if there is none, or no more

`kind` says who reads the body again; `owner` is the name of the key that made it, and nobody else can tell that it
exists. Bodies hold what people wrote: the file is for this user alone, and what is deleted is overwritten in it.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lanhaven.errors import InternalError, PayloadTooLarge, StorageFull

T = TypeVar("T")

FILE_NAME = "store.sqlite3"
DAMAGED = (".damaged", ".damaged-2", ".damaged-3")  # endings of files that were set aside; the last is replaced
LAYOUT = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (
    id TEXT NOT NULL, kind TEXT NOT NULL, owner TEXT NOT NULL, made INTEGER NOT NULL, size INTEGER NOT NULL,
    body BLOB NOT NULL, UNIQUE (id, kind, owner)
);
DROP INDEX IF EXISTS kept_by_age;
CREATE INDEX IF NOT EXISTS kept_sizes ON kept (made, size);
"""
# The index holds what every `put` adds up: over the rows themselves that took 100 ms with 100,000 bodies of 2 kB, over
# the index it takes 10.


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """max_age: seconds. max_bytes: of all bodies; the oldest go first. max_body: of one."""

    max_age: float = 30 * 86_400.0
    max_bytes: int = 256 << 20
    max_body: int = 32 << 20


def new_id(prefix: str) -> str:
    """An id that nobody guesses: resp_5f0c..."""
    return f"{prefix}_{secrets.token_hex(16)}"


def _seconds() -> float:
    return time.time_ns() / 1e9


class Database:
    """One SQLite file, to be used from one event loop: its blocking calls run in a thread of its own. Opened when first
    needed; a file that is no database (any more) is set aside, also when that shows later.

    schema: statements that may run again and again. layout: of the tables; a file of another one is set aside too.
    """

    def __init__(self, path: Path, schema: str, layout: int) -> None:
        self._path = path
        self._schema = schema
        self._layout = layout
        self._thread = ThreadPoolExecutor(1, path.stem)
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` gives, in the thread. StorageFull, InternalError."""
        if self._closed:
            raise InternalError("The store is closed.")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: self._done(work))
        except sqlite3.Error as error:
            raise _failure(error) from error
        except OSError as error:
            raise InternalError(f"The store cannot be opened: {error.strerror or error}.") from error

    async def aclose(self) -> None:
        """Write what is under way, and close. Idempotent."""
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
            self._thread.shutdown(wait=False)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open" if self._connection is not None else "not opened yet"
        return f"Database({self._path.name} {state})"

    def _done(self, work: Callable[[sqlite3.Connection], T]) -> T:
        database = self._opened()
        try:
            return work(database)
        except sqlite3.Error as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                self._close()
                _set_aside(self._path)
            raise

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._connection = connected(self._path, self._schema, self._layout)
            except sqlite3.DatabaseError as error:
                if isinstance(
                    error, sqlite3.OperationalError
                ):  # locked, disk full, no permission: not the file's fault
                    raise
                _set_aside(self._path)
                self._connection = connected(self._path, self._schema, self._layout)
        return self._connection

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class Store:
    """To be used from one event loop.

    clock: seconds since the epoch (ages must hold over a restart). Errors raised are GatewayErrors.
    """

    def __init__(self, path: Path, limits: StoreLimits | None = None, *, clock: Callable[[], float] = _seconds) -> None:
        self._database = Database(path, _SCHEMA, LAYOUT)
        self._limits = limits or StoreLimits()
        self._clock = clock

    async def put(self, name: str, kind: str, body: bytes, *, owner: str | None = None) -> None:
        """Keep `body` under the id `name`; its own one of this id is replaced. PayloadTooLarge, StorageFull."""
        if len(body) > min(self._limits.max_body, self._limits.max_bytes):
            raise PayloadTooLarge(f"What is to be kept is too large: {len(body)} bytes.", retry=False)
        row = (name, kind, owner or "", int(self._clock()), len(body), body)
        await self._database.run(lambda database: self._insert(database, row))

    async def get(self, name: str, kind: str, *, owner: str | None = None) -> bytes | None:
        """The body; None if it was never kept, is too old, or is somebody else's."""
        asked = (name, kind, owner or "", self._oldest())
        query = "SELECT body FROM kept WHERE id = ? AND kind = ? AND owner = ? AND made >= ?"
        row = await self._database.run(lambda database: database.execute(query, asked).fetchone())
        return bytes(row[0]) if row is not None else None

    async def delete(self, name: str, kind: str, *, owner: str | None = None) -> bool:
        """Forget it; whether it was there."""
        asked = (name, kind, owner or "")
        query = "DELETE FROM kept WHERE id = ? AND kind = ? AND owner = ?"
        return await self._database.run(lambda database: _changed(database, query, asked) > 0)

    async def aclose(self) -> None:
        """Write what is under way, and close. Idempotent."""
        await self._database.aclose()

    def __repr__(self) -> str:
        return f"Store({self._database!r})"

    # In the thread

    def _insert(self, database: sqlite3.Connection, row: tuple[str, str, str, int, int, bytes]) -> None:
        with database:
            database.execute("DELETE FROM kept WHERE made < ?", (self._oldest(),))
            new = database.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?, ?, ?)", row).lastrowid
            (total,) = database.execute("SELECT coalesce(sum(size), 0) FROM kept").fetchone()
            if total > self._limits.max_bytes:
                self._make_room(database, total - self._limits.max_bytes, but=new)

    def _make_room(self, database: sqlite3.Connection, excess: int, *, but: int | None) -> None:
        victims = []
        for row, size in database.execute("SELECT rowid, size FROM kept WHERE rowid != ? ORDER BY made, rowid", (but,)):
            if excess <= 0:
                break
            excess -= size
            victims.append((row,))
        database.executemany("DELETE FROM kept WHERE rowid = ?", victims)

    def _oldest(self) -> int:
        return int(self._clock() - self._limits.max_age)


def connected(path: Path, schema: str, layout: int) -> sqlite3.Connection:
    """A connection to the SQLite file, which only this user may read and which is made if there is none.

    WAL: a reader never waits for a writer, and a crash loses nothing that was committed but the last instant.
    sqlite3.DatabaseError for a file that is no database, or has another layout; OSError.
    """
    if not path.exists():
        path.touch(mode=0o600)
    connection = sqlite3.connect(path, check_same_thread=False, timeout=10)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA secure_delete = ON")
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found not in (0, layout):
            raise sqlite3.DatabaseError(f"its layout is {found}, of another LanHaven")
        connection.executescript(schema)
        if found != layout:
            connection.execute(f"PRAGMA user_version = {layout}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _set_aside(path: Path) -> None:
    """A file that is no database (any more), or one of another version, must not keep the server from working; nor is
    it thrown away: who goes back a version, and forth again, finds what he had."""
    places = [path.with_name(path.name + ending) for ending in DAMAGED]
    path.replace(next((place for place in places if not place.exists()), places[-1]))
    for ending in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + ending).unlink()


def _changed(database: sqlite3.Connection, query: str, values: tuple[str, ...]) -> int:
    with database:
        return database.execute(query, values).rowcount


def _failure(error: sqlite3.Error) -> StorageFull | InternalError:
    if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
        return StorageFull("The disk is full: nothing more can be kept.", hint="make room in data_dir")
    return InternalError(f"The store failed: {error}.")
