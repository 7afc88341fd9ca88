"""The rows of requests, newest first. Runs in the database's thread."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict, dataclass
from typing import Any

from lanhaven.history.row import NAMES, Columns

COLUMNS = ", ".join(NAMES)
_SEARCHED = ("id", "model", "instance", "key", "path", "error", "code", "agent", "address")


@dataclass(frozen=True, slots=True)
class Asked:
    """Which rows. before: the id of the last one of the page before. q: a text that one of the names must hold."""

    limit: int = 100
    before: str | None = None
    model: str | None = None
    key: str | None = None
    status: str | None = None
    q: str | None = None

    def matches(self, row: Columns) -> bool:
        """Whether this row is one of them: for those that are not in the database yet."""
        named = all(wanted is None or row[name] == wanted for name, wanted in self._exact().items())
        found = any(self.q.lower() in str(row[name]).lower() for name in _SEARCHED if row[name]) if self.q else True
        return named and found

    def statement(self) -> tuple[str, dict[str, Any]]:
        """The SQL, and its values: one row more than asked for, which tells whether there is another page."""
        tests = [f"{name} = :{name}" for name, wanted in self._exact().items() if wanted is not None]
        if self.before is not None:
            tests.append("seq < (SELECT max(seq) FROM requests WHERE id = :before)")
        if self.q:
            tests.append(f"({' OR '.join(f'instr(lower({name}), :text)' for name in _SEARCHED)})")
        where = f"WHERE {' AND '.join(tests)}" if tests else ""
        values = asdict(self) | {"text": (self.q or "").lower(), "more": self.limit + 1}
        return f"SELECT {COLUMNS} FROM requests {where} ORDER BY seq DESC LIMIT :more", values

    def _exact(self) -> dict[str, str | None]:
        return {"model": self.model, "key": self.key, "status": self.status}


def listed(database: sqlite3.Connection, asked: Asked) -> list[Columns]:
    """The rows, and one more where there are more."""
    statement, values = asked.statement()
    return [dict(zip(NAMES, row, strict=True)) for row in database.execute(statement, values)]


def found(database: sqlite3.Connection, request_id: str) -> Columns | None:
    """The row of one request."""
    row = database.execute(
        f"SELECT {COLUMNS} FROM requests WHERE id = ? ORDER BY seq DESC LIMIT 1", (request_id,)
    ).fetchone()
    return None if row is None else dict(zip(NAMES, row, strict=True))
