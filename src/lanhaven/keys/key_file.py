"""The key file: keys in SQLite, without what would let anybody use them. Every call opens it anew, and may be made in
any thread; changes by several processes take turns.

`keys.json` beside it, where earlier versions kept them, is taken over once and kept under another name.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lanhaven.config import atomic
from lanhaven.errors import GatewayError, Overloaded, StorageFull
from lanhaven.keys import earlier
from lanhaven.keys.key import UNLIMITED, KeyInfo, KeyScope, Limits, OldKey, Terms
from lanhaven.keys.meters import DAY, MINUTE, Count
from lanhaven.store import connected

log = logging.getLogger("lanhaven.keys")

LAYOUT = 1
MAGIC = b"SQLite format 3\0"
OTHERS = stat.S_IRWXG | stat.S_IRWXO
TAKEN_OVER = ".taken-over"  # what keys.json is renamed to

_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    name TEXT NOT NULL PRIMARY KEY, digest BLOB NOT NULL UNIQUE, prefix TEXT NOT NULL, created REAL,
    terms TEXT NOT NULL, old_digest BLOB, old_until REAL, last_used REAL, user_agent TEXT
);
CREATE TABLE IF NOT EXISTS usage (
    name TEXT NOT NULL, minute INTEGER NOT NULL, requests INTEGER NOT NULL, tokens INTEGER NOT NULL,
    PRIMARY KEY (name, minute)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS taken_over (digest BLOB NOT NULL PRIMARY KEY);
"""
_PUT = """
INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name)
DO UPDATE SET digest = excluded.digest, prefix = excluded.prefix, created = excluded.created, terms = excluded.terms,
    old_digest = excluded.old_digest, old_until = excluded.old_until,
    last_used = excluded.last_used, user_agent = excluded.user_agent
"""
_COUNT = """
INSERT INTO usage VALUES (?, ?, ?, ?) ON CONFLICT (name, minute)
DO UPDATE SET requests = requests + excluded.requests, tokens = tokens + excluded.tokens
"""


class KeyFileError(GatewayError):
    """The key file is damaged or not safe. The server does not start; message and hint say what to do."""

    code = "key_file"


@dataclass(frozen=True, slots=True)
class Use:
    """When a key was used last (seconds since the epoch), and by which program."""

    name: str
    at: float
    user_agent: str | None


Keys = tuple[KeyInfo, ...]
Identity = tuple[tuple[int, int, int] | None, ...]


def identity(path: Path) -> Identity | None:
    """Changes whenever what is in the file does; None if there is none."""
    file = _stamp(path)
    return None if file is None else (file, _stamp(path.with_name(path.name + "-wal")))


def read(path: Path) -> Keys:
    """The keys in the file, those who were there first first; () if there is none. KeyFileError, Overloaded."""
    if not path.exists():
        return ()
    with _opened(path) as database:
        return _keys(database)


def counts(path: Path, now: float) -> list[Count]:
    """What the keys asked for within the last day."""
    if not path.exists():
        return []
    with _opened(path) as database:
        rows = database.execute("SELECT name, minute, requests, tokens FROM usage WHERE minute >= ?", (_oldest(now),))
        return [Count(*row) for row in rows]


def change(path: Path, make: Callable[[Keys], Keys]) -> Keys:
    """Put the keys that `make` gives in the place of those that it gets; nobody else changes them meanwhile.

    StorageFull, InternalError: the disk refuses, and the old ones stay (F-173). KeyFileError, Overloaded.
    """
    with _written(path) as database:
        before = _keys(database)
        after = make(before)
        gone = [(name,) for name in {each.name for each in before} - {each.name for each in after}]
        database.executemany("DELETE FROM keys WHERE name = ?", gone)
        database.executemany("DELETE FROM usage WHERE name = ?", gone)
        database.executemany(_PUT, [_row(each) for each in after if each not in before])
        return after


def record(path: Path, uses: Iterable[Use], counted: Iterable[Count], now: float) -> None:
    """Write down when keys were used, and what for. Errors as `change`."""
    with _written(path) as database:
        database.executemany(
            "UPDATE keys SET last_used = ?, user_agent = ? WHERE name = ?",
            [(each.at, each.user_agent, each.name) for each in uses],
        )
        database.executemany(_COUNT, [(each.name, each.minute, each.requests, each.tokens) for each in counted])
        database.execute("DELETE FROM usage WHERE minute < ?", (_oldest(now),))


def take_over(path: Path, old: Path) -> None:
    """Take the keys of `keys.json` over, and give it another name. KeyFileError if it is damaged: nothing is taken."""
    if not old.exists():
        return
    try:
        make_private(old)
        content = old.read_bytes()
        keys = earlier.keys_in(content)
    except OSError as error:
        raise KeyFileError(f"The key file {old} cannot be read: {error.strerror}.") from None
    except earlier.Damaged as error:
        raise KeyFileError(
            f"The key file {old} {error}.",
            hint="restore it, or delete it and add keys again (lanhaven keys add NAME)",
        ) from None
    with _written(path) as database:
        known = database.execute("INSERT OR IGNORE INTO taken_over VALUES (?)", (earlier.digest(content),))
        if known.rowcount:  # else a crash came between this and the new name
            there = {each.name for each in _keys(database)}
            database.executemany(_PUT, [_row(each) for each in keys if each.name not in there])
    try:
        old.replace(old.with_name(old.name + TAKEN_OVER))
    except OSError as error:
        raise atomic.refused(old, error) from error
    log.warning("the keys of %s are in %s now; it is kept as %s", old, path.name, old.name + TAKEN_OVER)


def make_private(path: Path) -> None:
    """Take the file from other users' eyes; KeyFileError if that cannot be done. FileNotFoundError if there is none."""
    if os.name != "posix":
        return
    if path.stat().st_mode & OTHERS:
        log.warning("other users could read the key file %s: its mode is now 0600, consider new keys", path)
        try:
            path.chmod(0o600)
        except OSError:
            raise KeyFileError(f"Other users can read the key file {path}.", hint=f"chmod 600 {path}") from None
    if path.parent.stat().st_mode & stat.S_IWOTH and not path.parent.stat().st_mode & stat.S_ISVTX:
        log.warning("every user can replace files in %s, the key file among them: chmod 700 it", path.parent)


@contextmanager
def _written(path: Path) -> Iterator[sqlite3.Connection]:
    """A transaction that nobody else writes beside. It is done when the block ends without an error."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise atomic.refused(path, error) from error
    with _opened(path) as database:
        database.execute("BEGIN IMMEDIATE")
        with database:
            yield database


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    database = None
    try:
        with suppress(FileNotFoundError):
            make_private(path)
        if path.exists() and not os.access(path.parent, os.W_OK):  # nobody writes there, and there is no journal
            database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        else:
            _check(path)
            database = connected(path, _SCHEMA, LAYOUT)
        database.execute("PRAGMA synchronous = FULL")  # a key that was revoked must not come back with the power
        yield database
    except sqlite3.Error as error:
        raise _refused(path, error) from error
    except OSError as error:
        raise atomic.refused(path, error) from error
    finally:
        if database is not None:
            with suppress(sqlite3.Error):
                database.close()


def _check(path: Path) -> None:
    """SQLite takes a file of a few bytes for an empty one, and writes over it."""
    if path.exists():
        with path.open("rb") as file:
            if file.read(len(MAGIC)) not in (b"", MAGIC):
                raise sqlite3.DatabaseError("it is no SQLite file")


def _refused(path: Path, error: sqlite3.Error) -> GatewayError:
    match error.sqlite_errorcode & 0xFF if isinstance(error, sqlite3.OperationalError) else None:
        case None:
            return KeyFileError(
                f"The key file {path} is damaged: {error}.",
                hint="restore it, or delete it and add keys again (lanhaven keys add NAME)",
            )
        case sqlite3.SQLITE_FULL:
            return StorageFull(f"{path.name} could not be written: No space left on device", hint="make room")
        case sqlite3.SQLITE_BUSY:
            return Overloaded(f"{path.name} is being edited by another process", hint="try again in a moment")
        case _:
            return KeyFileError(f"The key file {path} cannot be used: {error}.", hint=f"look at {path.parent}")


def _keys(database: sqlite3.Connection) -> Keys:
    try:
        return tuple(_key(row) for row in database.execute("SELECT * FROM keys ORDER BY rowid"))
    except (ValueError, KeyError, TypeError) as error:
        raise sqlite3.DatabaseError(f"a row is no key ({error})") from None


def _key(row: tuple[Any, ...]) -> KeyInfo:
    name, digest, prefix, created, terms, old_digest, old_until, last_used, user_agent = row
    said = json.loads(terms)
    limits = Limits(**said["limits"]) if said["limits"] else UNLIMITED
    if len(digest) != 32:
        raise ValueError(name)
    return KeyInfo(
        name=name,
        scopes=frozenset(KeyScope(each) for each in said["scopes"]),
        digest=digest,
        prefix=prefix,
        created=created,
        last_used=last_used,
        user_agent=user_agent,
        terms=Terms(tuple(said["models"]), said["expires"], tuple(said["networks"]), limits),
        old=None if old_digest is None else OldKey(old_digest, old_until),
    )


def _row(key: KeyInfo) -> tuple[Any, ...]:
    terms = {
        "scopes": sorted(key.scopes),
        "models": key.terms.models,
        "expires": key.terms.expires,
        "networks": key.terms.networks,
        "limits": key.terms.limits.said(),
    }
    old = (None, None) if key.old is None else (key.old.digest, key.old.until)
    said = json.dumps(terms)
    return (key.name, key.digest, key.prefix, key.created, said, *old, key.last_used, key.user_agent)


def _oldest(now: float) -> int:
    return int((now - DAY) // MINUTE)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size) if found.st_size else None
