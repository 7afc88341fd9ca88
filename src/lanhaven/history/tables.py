"""The tables of the history, and what is written into them. All of this runs in the database's thread.

`requests` has a row for each request. `rollups` adds them up by minute (`step` 60) and hour (3600), model and key; it
knows models of the catalog only, so clients cannot make it grow by inventing names. `gauges` has what was measured
every few seconds. Times: `began` and `ended` in milliseconds, `at` in seconds, since the epoch.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from lanhaven.history.buckets import Merged, packed
from lanhaven.history.row import NAMES, Columns, Ended, columns, generating

LAYOUT = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL, began INTEGER NOT NULL, ended INTEGER NOT NULL, status TEXT NOT NULL,
    path TEXT NOT NULL, dialect TEXT NOT NULL, model TEXT NOT NULL, instance TEXT, key TEXT, streamed INTEGER,
    ms INTEGER NOT NULL, queue_ms INTEGER, load_ms INTEGER, first_ms INTEGER, prompt INTEGER, completion INTEGER,
    finish TEXT, error TEXT, code TEXT, agent TEXT, address TEXT, parameters TEXT
);
CREATE INDEX IF NOT EXISTS requests_by_id ON requests (id);
CREATE INDEX IF NOT EXISTS requests_by_end ON requests (ended);
CREATE INDEX IF NOT EXISTS requests_by_model ON requests (model);
CREATE INDEX IF NOT EXISTS requests_by_key ON requests (key);
CREATE TABLE IF NOT EXISTS rollups (
    step INTEGER NOT NULL, at INTEGER NOT NULL, model TEXT NOT NULL, key TEXT NOT NULL,
    requests INTEGER NOT NULL, errors INTEGER NOT NULL, cancelled INTEGER NOT NULL,
    prompt INTEGER NOT NULL, completion INTEGER NOT NULL, generated_ms INTEGER NOT NULL,
    first BLOB NOT NULL, queue BLOB NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (step, at, model, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gauges (
    at INTEGER PRIMARY KEY, inflight INTEGER NOT NULL, waiting INTEGER NOT NULL, memory INTEGER NOT NULL
);
"""
MINUTE, HOUR, DAY = 60, 3600, 86_400
MINUTES_KEPT = 2 * DAY  # the charts of a day are made of them
HOURS_KEPT = 90 * DAY

Sample = tuple[int, int, int, int]  # at, requests in flight, waiting, bytes of the instances

# Rows of one statement: `executemany` lets go of the interpreter and takes it again for each row, which under load are
# two switches of threads; 40 rows stay within the 999 parameters that every SQLite takes.
AT_ONCE = 40
_INSERT = f"INSERT INTO requests ({', '.join(NAMES)}) VALUES "
_ROW = f"({', '.join('?' * len(NAMES))})"
_ADD = """
INSERT INTO rollups VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    requests = requests + excluded.requests, errors = errors + excluded.errors,
    cancelled = cancelled + excluded.cancelled, prompt = prompt + excluded.prompt,
    completion = completion + excluded.completion, generated_ms = generated_ms + excluded.generated_ms,
    first = plus(first, excluded.first), queue = plus(queue, excluded.queue), last = max(last, excluded.last)
"""


def prepare(database: sqlite3.Connection) -> sqlite3.Connection:
    """Make the functions known that the statements use; may be done again and again."""
    database.create_function("plus", 2, _plus, deterministic=True)
    # The type stubs want aggregates that return numbers; SQLite takes bytes as well.
    database.create_aggregate("merged", 1, Merged)  # type: ignore[arg-type]
    return database


def write(database: sqlite3.Connection, ended: Sequence[Ended], samples: Iterable[Sample]) -> None:
    """One transaction: rows, roll-ups and gauges, or none of them."""
    rows = [(columns(start, end), end.model_key or "") for start, end in ended]
    with prepare(database):
        for some in (rows[at : at + AT_ONCE] for at in range(0, len(rows), AT_ONCE)):
            values = [value for row, _ in some for value in row.values()]
            database.execute(_INSERT + ", ".join([_ROW] * len(some)), values)
        database.executemany(_ADD, _rolled(rows))
        database.executemany("INSERT OR REPLACE INTO gauges VALUES (?, ?, ?, ?)", samples)


def _rolled(rows: Iterable[tuple[Columns, str]]) -> Iterable[tuple[object, ...]]:
    """The roll-ups of these rows by minute, and the same once more for the hours that the minutes lie in."""
    cells: dict[tuple[int, str, str], list[Columns]] = {}
    for row, model in rows:
        cells.setdefault((row["ended"] // 1000 // MINUTE * MINUTE, model, row["key"] or ""), []).append(row)
    for (at, model, key), members in cells.items():
        answered = [row for row in members if row["completion"]]
        sums = (
            model, key, len(members),
            sum(row["status"] == "failed" for row in members),
            sum(row["status"] == "cancelled" for row in members),
            sum(row["prompt"] or 0 for row in members),
            sum(row["completion"] or 0 for row in members),
            sum(map(generating, answered)),
            packed(row["first_ms"] for row in members if row["first_ms"] is not None),
            packed(row["queue_ms"] for row in members if row["queue_ms"] is not None),
            max(row["ended"] for row in members),
        )  # fmt: skip
        yield (MINUTE, at, *sums)
        yield (HOUR, at // HOUR * HOUR, *sums)


def _plus(first: bytes, second: bytes) -> bytes:
    merged = Merged()
    merged.step(first)
    merged.step(second)
    return merged.finalize()


def trim(database: sqlite3.Connection, now: int, days: int, most_bytes: int) -> None:
    """Forget what is too old, then the oldest rows until the file is small enough: first requests, then the rest."""
    with database:
        database.execute("DELETE FROM requests WHERE ended < ?", (1000 * (now - days * DAY),))
        database.execute("DELETE FROM gauges WHERE at < ?", (now - max(7, days) * DAY,))
        for step, kept in ((MINUTE, MINUTES_KEPT), (HOUR, HOURS_KEPT)):
            database.execute("DELETE FROM rollups WHERE step = ? AND at < ?", (step, now - kept))
    while (used := size(database)) > most_bytes and _shorten(database, 1 - 0.9 * most_bytes / used):
        pass
    (pages,), (page,) = (
        database.execute("PRAGMA page_count").fetchone(),
        database.execute("PRAGMA page_size").fetchone(),
    )
    if pages * page > 2 * max(most_bytes, size(database)):
        database.execute("VACUUM")  # the limit was lowered: what is free is given back


def size(database: sqlite3.Connection) -> int:
    """Bytes of the file that are in use."""
    pages, free, page = (
        database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * page)


# What goes when there is no room, in this order: table, column of its age, and which rows of it.
_OLDEST = (
    ("requests", "seq", "1"),
    ("rollups", "at", f"step = {MINUTE}"),
    ("gauges", "at", "1"),
    ("rollups", "at", f"step = {HOUR}"),
)


def _shorten(database: sqlite3.Connection, share: float) -> bool:
    """Delete about this share of the first of these that has more than one age; whether there was one."""
    for table, age, which in _OLDEST:
        (count,) = database.execute(f"SELECT count(*) FROM {table} WHERE {which}").fetchone()
        edge = f"SELECT {age} FROM {table} WHERE {which} ORDER BY {age} LIMIT 1 OFFSET ?"
        reached = database.execute(edge, (min(count - 1, max(1, int(count * share))),)).fetchone() if count else None
        if reached is None:
            continue
        with database:
            if database.execute(f"DELETE FROM {table} WHERE {which} AND {age} < ?", reached).rowcount:
                return True
    return False
