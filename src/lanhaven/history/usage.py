"""Who used what: requests and tokens by key, model or day. Runs in the database's thread.

Days are those of this machine's clock, which people live by. Sums are kept by the hour: where clocks are half an hour
off, the hour in which a day begins counts for the day before.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from types import MappingProxyType
from typing import Any

from lanhaven.events import iso
from lanhaven.history.buckets import percentile
from lanhaven.history.tables import HOUR, prepare

BY: Mapping[str, str] = MappingProxyType({"key": "key", "model": "model", "day": "date(at, 'unixepoch', 'localtime')"})
_USAGE = """
SELECT {by} AS name, sum(requests), sum(errors), sum(prompt), sum(completion), merged(first), max(last)
FROM rollups WHERE step = {hour} AND at >= ? GROUP BY name ORDER BY {order}
"""


def usage(database: sqlite3.Connection, days: int, by: str, now: int) -> dict[str, Any]:
    """The last `days` days, today included: the busiest first, days in order. The name is "" where there is none."""
    order = "name DESC" if by == "day" else "sum(requests) DESC, name"
    since = begin_of_day(now, days - 1)
    rows = prepare(database).execute(_USAGE.format(by=BY[by], hour=HOUR, order=order), (since,))
    return {"rows": [_row(by, *row) for row in rows], "days": days}


def begin_of_day(now: int, days_ago: int) -> int:
    """When the day of `now`, or one before, began by this machine's clock. Seconds since the epoch."""
    today = datetime.fromtimestamp(now, UTC).astimezone().date()
    return round(datetime.combine(today - timedelta(days=days_ago), time.min).timestamp())


def _row(
    by: str, name: str, requests: int, errors: int, prompt: int, completion: int, first: bytes, last: int
) -> dict[str, Any]:
    median = percentile(first, 0.5)
    return {
        by: name,
        "requests": requests,
        "errors": errors,
        "promptTokens": prompt,
        "completionTokens": completion,
        **({"firstTokenP50Ms": median} if median is not None else {}),
        "lastUsed": iso(last * 10**6),
    }
