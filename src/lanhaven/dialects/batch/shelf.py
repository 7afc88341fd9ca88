"""Where files, batches and results lie: a folder of files, and tables that say what they are.

    batches/batches.sqlite3     what there is; results of batches that are not over
    batches/files/file-5f0c...  a file; one that ends in .part is being written

A file is in the tables only when it is whole on the disk, and off them before it goes: what a crash leaves without a
row is swept away at the next start. All that blocks runs in the threads of the database or of asyncio.
"""

from __future__ import annotations

import errno
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from lanhaven.dialects.batch.records import BatchRecord, FileRecord
from lanhaven.errors import GatewayError, InternalError, StorageFull
from lanhaven.store import Database
from lanhaven.wire import encode

FOLDER = "batches"
PART = ".part"
LAYOUT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, purpose TEXT NOT NULL,
    expires INTEGER NOT NULL, size INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS batches (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, made INTEGER NOT NULL,
    over INTEGER NOT NULL, input TEXT NOT NULL, body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS results (
    batch TEXT NOT NULL, line INTEGER NOT NULL, ok INTEGER NOT NULL, size INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (batch, line)
);
"""
_read_file = msgspec.json.Decoder(FileRecord).decode
_read_batch = msgspec.json.Decoder(BatchRecord).decode


def _seconds() -> float:
    return time.time_ns() / 1e9


class Shelf:
    """To be used from one event loop. clock: seconds since the epoch. Errors raised are GatewayErrors."""

    def __init__(self, data_dir: Path, keep: float, *, clock: Callable[[], float] = _seconds) -> None:
        self._folder = data_dir / FOLDER
        self._files = self._folder / "files"
        self._database = Database(self._folder / "batches.sqlite3", _SCHEMA, LAYOUT)
        self._keep = keep
        self._clock = clock
        self._born = time.time_ns()

    @property
    def now(self) -> int:
        return int(self._clock())

    def used_before(self) -> bool:
        """Whether there is anything to look after. Blocks for a moment."""
        return self._folder.exists()

    async def aclose(self) -> None:
        """Idempotent."""
        await self._database.aclose()

    # ---- files

    def path(self, file_id: str) -> Path:
        """Of a file that is in the tables."""
        return self._files / file_id

    def part(self) -> Path:
        """A new file to be written. Blocks for a moment. StorageFull, InternalError."""
        with disk("The folder of batches"):
            self._files.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = self._files / f"file-{secrets.token_hex(12)}{PART}"
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        return path

    def record(self, part: Path, owner: str, filename: str, purpose: str, keep: int | None) -> FileRecord:
        """What is to be known of a part that is whole. Blocks for a moment."""
        with disk(filename):
            size = part.stat().st_size
        expires = self.now + int(min(self._keep, self._keep if keep is None else keep))
        return FileRecord(part.name.removesuffix(PART), owner, filename, purpose, size, self.now, expires)

    async def add_file(self, part: Path, record: FileRecord) -> None:
        """A part becomes a file."""
        await self._database.run(lambda database: self._add_files(database, [(part, record)]))

    async def file(self, file_id: str, owner: str) -> FileRecord | None:
        """None if there is none, or no more, or it is somebody else's."""
        query = "SELECT body FROM files WHERE id = ? AND owner = ? AND expires > ?"
        row = await self._database.run(lambda database: database.execute(query, (file_id, owner, self.now)).fetchone())
        return None if row is None else _read_file(row[0])

    async def files(self, owner: str, purpose: str | None, after: str | None, limit: int, up: bool) -> list[FileRecord]:
        """At most `limit` of them, the newest first unless `up`."""
        where = "owner = ? AND expires > ? AND purpose = coalesce(?, purpose)"
        return [
            _read_file(body) for body in await self._page("files", where, (owner, self.now, purpose), after, limit, up)
        ]

    async def delete_file(self, file_id: str) -> None:
        """Forget it, then delete it."""
        await self._database.run(lambda database: self._delete_files(database, [file_id]))

    async def reader(self, file_id: str) -> str | None:
        """The id of a batch that is not over and reads this file."""
        query = "SELECT id FROM batches WHERE input = ? AND NOT over"
        row = await self._database.run(lambda database: database.execute(query, (file_id,)).fetchone())
        return None if row is None else str(row[0])

    async def taken(self) -> int:
        """Bytes of all files and results."""
        query = "SELECT (SELECT coalesce(sum(size), 0) FROM files) + (SELECT coalesce(sum(size), 0) FROM results)"
        return int((await self._database.run(lambda database: database.execute(query).fetchone()))[0])

    # ---- batches

    async def save(self, record: BatchRecord) -> None:
        """As it is now; a new one is added."""
        row = _row(record)
        await self._database.run(lambda database: _committed(database, lambda: _save(database, row)))

    async def batch(self, batch_id: str, owner: str) -> BatchRecord | None:
        """None if there is none, or it is somebody else's."""
        query = "SELECT body FROM batches WHERE id = ? AND owner = ?"
        row = await self._database.run(lambda database: database.execute(query, (batch_id, owner)).fetchone())
        return None if row is None else _read_batch(row[0])

    async def batches(self, owner: str, after: str | None, limit: int) -> list[BatchRecord]:
        """At most `limit` of them, the newest first."""
        return [
            _read_batch(body) for body in await self._page("batches", "owner = ?", (owner,), after, limit, up=False)
        ]

    async def unfinished(self) -> list[BatchRecord]:
        """Of everybody, the oldest first."""
        query = "SELECT body FROM batches WHERE NOT over ORDER BY number"
        rows = await self._database.run(lambda database: database.execute(query).fetchall())
        return [_read_batch(body) for (body,) in rows]

    async def put_result(self, record: BatchRecord, line: int, ok: bool, body: bytes) -> None:
        """The result of a line, and the batch that counts it: both or none."""
        row, result = _row(record), (record.id, line, int(ok), len(body), body)

        def put(database: sqlite3.Connection) -> None:
            with database:
                database.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?)", result)
                _save(database, row)

        await self._database.run(put)

    async def done(self, batch_id: str) -> set[int]:
        """The lines that have a result."""
        query = "SELECT line FROM results WHERE batch = ?"
        rows = await self._database.run(lambda database: database.execute(query, (batch_id,)).fetchall())
        return {line for (line,) in rows}

    async def write_results(self, batch_id: str, ok: bool, part: Path) -> None:
        """All results of one kind to a file, in the order of their lines."""

        def write(database: sqlite3.Connection) -> None:
            query = "SELECT body FROM results WHERE batch = ? AND ok = ? ORDER BY line"
            with disk("The results"), part.open("ab") as file:
                file.writelines(body + b"\n" for (body,) in database.execute(query, (batch_id, int(ok))))

        await self._database.run(write)

    async def finish(self, record: BatchRecord, made: list[tuple[Path, FileRecord]]) -> None:
        """The batch is over: its files are there, its results are in them."""
        row = _row(record)

        def finish(database: sqlite3.Connection) -> None:
            self._add_files(database, made, row)
            if database.execute("SELECT count(*) FROM results").fetchone()[0] == 0:
                database.execute("VACUUM")  # little is left to copy, and deleted rows give nothing back to the disk

        await self._database.run(finish)

    # ---- order

    async def purge(self) -> None:
        """Delete what is too old: files that no batch reads, and batches that are over."""

        def purge(database: sqlite3.Connection) -> None:
            unread = "id NOT IN (SELECT input FROM batches WHERE NOT over)"
            old = database.execute(f"SELECT id FROM files WHERE expires <= ? AND {unread}", (self.now,))  # noqa: S608
            self._delete_files(database, [file_id for (file_id,) in old.fetchall()])
            with database:
                database.execute("DELETE FROM batches WHERE over AND made < ?", (self.now - int(self._keep),))

        await self._database.run(purge)

    async def sweep(self) -> None:
        """Delete what a crash left: files without a row, from before this shelf."""

        def sweep(database: sqlite3.Connection) -> None:
            known = {file_id for (file_id,) in database.execute("SELECT id FROM files")}
            with disk("The folder of batches"):
                for path in list(self._files.iterdir()) if self._files.exists() else ():
                    if path.name not in known and path.stat().st_mtime_ns < self._born:
                        path.unlink(missing_ok=True)

        await self._database.run(sweep)

    # ---- in the thread

    def _add_files(
        self, database: sqlite3.Connection, made: Iterable[tuple[Path, FileRecord]], batch: _Row | None = None
    ) -> None:
        with disk("The file"):
            for part, record in made:
                with part.open("rb+") as file:
                    os.fsync(file.fileno())
                part.replace(self.path(record.id))
        with database:
            for _, record in made:
                row = (record.id, record.owner, record.purpose, record.expires_at, record.bytes, encode(record))
                database.execute("INSERT INTO files VALUES (NULL, ?, ?, ?, ?, ?, ?)", row)
            if batch is not None:
                _save(database, batch)
                database.execute("DELETE FROM results WHERE batch = ?", (batch[0],))

    def _delete_files(self, database: sqlite3.Connection, ids: list[str]) -> None:
        with database:
            database.executemany("DELETE FROM files WHERE id = ?", [(each,) for each in ids])
        with disk("The file"):
            for each in ids:
                self.path(each).unlink(missing_ok=True)

    async def _page(
        self, table: str, where: str, values: tuple[object, ...], after: str | None, limit: int, up: bool
    ) -> list[bytes]:
        beyond = f"number {'>' if up else '<'} (SELECT number FROM {table} WHERE id = ?)" if after else "? IS NULL"  # noqa: S608
        query = f"SELECT body FROM {table} WHERE {where} AND {beyond} ORDER BY number {'' if up else 'DESC'} LIMIT ?"  # noqa: S608
        rows = await self._database.run(lambda database: database.execute(query, (*values, after, limit)).fetchall())
        return [body for (body,) in rows]


_Row = tuple[str, str, int, int, str, bytes]


def _row(record: BatchRecord) -> _Row:
    over = int(record.status.over)
    return (record.id, record.owner, record.created_at, over, record.input_file_id, encode(record))


def _save(database: sqlite3.Connection, row: _Row) -> None:
    database.execute(
        "INSERT INTO batches VALUES (NULL, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET over = excluded.over, body = excluded.body",
        row,
    )


def _committed(database: sqlite3.Connection, work: Callable[[], None]) -> None:
    with database:
        work()


@contextmanager
def disk(what: str) -> Iterator[None]:
    """What the disk refuses, in our words: StorageFull, InternalError."""
    try:
        yield
    except OSError as error:
        raise _refused(what, error) from error


def _refused(what: str, error: OSError) -> GatewayError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull("The disk is full: nothing more can be kept.", hint="make room in data_dir")
    return InternalError(f"{what} cannot be read or written: {error.strerror or error}.")
