"""What the charts show: a window of time in equal steps. Runs in the database's thread.

The shortest window is read from the rows, and its percentiles are exact; the others come from the roll-ups.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from lanhaven.history.buckets import percentile
from lanhaven.history.tables import DAY, HOUR, MINUTE, prepare


@dataclass(frozen=True, slots=True)
class Window:
    """seconds: from its beginning to now. step: between two points. source: the roll-ups it is made of; None: rows."""

    seconds: int
    step: int
    source: int | None


WINDOWS: Mapping[str, Window] = MappingProxyType(
    {
        "15m": Window(15 * MINUTE, 10, None),
        "1h": Window(HOUR, MINUTE, MINUTE),
        "6h": Window(6 * HOUR, 5 * MINUTE, MINUTE),
        "24h": Window(DAY, 10 * MINUTE, MINUTE),
        "7d": Window(7 * DAY, HOUR, HOUR),
    }
)
COUNTS = ("requests", "errors", "cancelled", "promptTokens", "completionTokens")
MEASURES = ("firstTokenP50Ms", "firstTokenP95Ms", "tokensPerSecond", "queueP95Ms", "waiting", "inflight", "memoryBytes")

_FILTER = "(:model IS NULL OR model = :model) AND (:key IS NULL OR key = :key)"
# Slot, then COUNTS, then milliseconds of generating, as `row.generating` reckons them.
_FROM_ROWS = f"""
SELECT (ended / 1000 - :begin) / :step AS slot, count(*), sum(status = 'failed'), sum(status = 'cancelled'),
    total(prompt), total(completion),
    total(CASE WHEN completion > 0 THEN max(1, CASE WHEN first_ms IS NULL THEN ms - coalesce(queue_ms, 0)
        ELSE (ms - first_ms) * completion / max(1, completion - 1) END) END)
FROM requests WHERE ended >= :begin * 1000 AND ended < :end * 1000 AND {_FILTER} GROUP BY slot
"""
_FROM_ROLLUPS = f"""
SELECT (at - :begin) / :step AS slot, sum(requests), sum(errors), sum(cancelled), total(prompt), total(completion),
    total(generated_ms), merged(first), merged(queue)
FROM rollups WHERE step = :source AND at >= :begin AND at < :end AND {_FILTER} GROUP BY slot
"""
# The nearest rank: the smallest value that so many are not above.
_RANKS = """
WITH placed AS (
    SELECT slot, value, row_number() OVER (PARTITION BY slot ORDER BY value) AS place,
        count(*) OVER (PARTITION BY slot) AS total
    FROM (SELECT (ended / 1000 - :begin) / :step AS slot, {column} AS value FROM requests
        WHERE ended >= :begin * 1000 AND ended < :end * 1000 AND {filter} AND {column} IS NOT NULL)
)
SELECT slot, min(value) FILTER (WHERE place >= 0.5 * total), min(value) FILTER (WHERE place >= 0.95 * total)
FROM placed GROUP BY slot
"""
_GAUGES = """
SELECT (at - :begin) / :step AS slot, max(waiting), max(inflight), max(memory)
FROM gauges WHERE at >= :begin AND at < :end GROUP BY slot
"""


def series(database: sqlite3.Connection, name: str, now: int, model: str | None, key: str | None) -> dict[str, Any]:
    """The charts of a window that ends `now` (seconds since the epoch); its last step is not over yet."""
    window = WINDOWS[name]
    points = window.seconds // window.step
    end = (now // window.step + 1) * window.step
    begin = end - window.seconds
    asked = {"begin": begin, "end": end, "step": window.step, "source": window.source, "model": model, "key": key}
    columns: dict[str, list[Any]] = {each: [0] * points for each in COUNTS}
    columns |= {each: [None] * points for each in MEASURES}
    read = _from_rows if window.source is None else _from_rollups
    for slot, values in (*read(prepare(database), asked), *_gauges(database, asked)):
        for column, value in values.items():
            columns[column][slot] = value
    return {
        "window": name,
        "step": window.step,
        "times": list(range(begin, end, window.step)),
        **columns,
        "models": _seen(database, "model", asked),
        "keys": _seen(database, "key", asked),
    }


Slots = Iterator[tuple[int, dict[str, Any]]]


def _from_rows(database: sqlite3.Connection, asked: Mapping[str, Any]) -> Slots:
    for slot, *values in database.execute(_FROM_ROWS, asked):
        yield slot, _counted(values)
    for column, names in (("first_ms", ("firstTokenP50Ms", "firstTokenP95Ms")), ("queue_ms", (None, "queueP95Ms"))):
        for slot, *ranks in database.execute(_RANKS.format(column=column, filter=_FILTER), asked):
            yield slot, {name: rank for name, rank in zip(names, ranks, strict=True) if name is not None}


def _from_rollups(database: sqlite3.Connection, asked: Mapping[str, Any]) -> Slots:
    for slot, *values, first, queue in database.execute(_FROM_ROLLUPS, asked):
        measured = {"firstTokenP50Ms": percentile(first, 0.5), "firstTokenP95Ms": percentile(first, 0.95)}
        yield slot, _counted(values) | measured | {"queueP95Ms": percentile(queue, 0.95)}


def _counted(values: list[Any]) -> dict[str, Any]:
    *counts, generated_ms = map(int, values)
    found: dict[str, Any] = dict(zip(COUNTS, counts, strict=True))
    if generated_ms:
        found["tokensPerSecond"] = round(1000 * found["completionTokens"] / generated_ms, 1)
    return found


def _gauges(database: sqlite3.Connection, asked: Mapping[str, Any]) -> Slots:
    for slot, *values in database.execute(_GAUGES, asked):
        yield slot, dict(zip(("waiting", "inflight", "memoryBytes"), values, strict=True))


def _seen(database: sqlite3.Connection, column: str, asked: Mapping[str, Any]) -> list[str]:
    """Names in the window, whatever is filtered. Hours tell it cheaply; the first may have begun before the window."""
    statement = f"SELECT DISTINCT {column} FROM rollups WHERE step = {HOUR} AND at > :begin - {HOUR} AND {column} != ''"
    return sorted(name for (name,) in database.execute(statement, asked))
