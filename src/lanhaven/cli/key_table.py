"""Keys on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from lanhaven.cli import output
from lanhaven.cli.output import Column

UNITS = (
    ("requestsPerMinute", "requests/min"),
    ("requestsPerDay", "requests/day"),
    ("tokensPerMinute", "tokens/min"),
    ("tokensPerDay", "tokens/day"),
)


def table(records: Sequence[Mapping[str, Any]]) -> None:
    """All keys, one a line."""
    columns = (
        Column("NAME", lambda k: k["name"], cut=True),
        Column("GOOD FOR", lambda k: k["scopes"], lambda k: ", ".join(k["scopes"]), cut=True),
        Column("BEGINS", lambda k: k["prefix"], lambda k: f"{k['prefix']}…" if k["prefix"] else "–"),
        Column("CREATED", lambda k: k.get("created"), lambda k: _day(k.get("created"), "–"), spare=True),
        Column("LAST USED", lambda k: k.get("lastUsed"), lambda k: _day(k.get("lastUsed"), "never")),
        Column("FROM", lambda k: k["source"], spare=True),
        Column("MODELS", lambda k: k.get("models"), lambda k: ", ".join(k.get("models", ("all",))), cut=True),
        Column("LIMITS", lambda k: _limits(k), lambda k: _limits(k) or "–", cut=True),
        Column("USED TODAY", lambda k: k["used"]["requestsPerDay"], _used, right=True, spare=True),
        Column("EXPIRES", lambda k: k.get("expires"), _expires),
    )
    output.rows(columns, records, empty="no keys: the server is open on this machine and closed to others")


def details(record: Mapping[str, Any]) -> None:
    """One key, a fact a line."""
    used, limits = record["used"], record["limits"]
    facts = (
        ("name", record["name"]),
        ("good for", ", ".join(record["scopes"])),
        ("begins", record["prefix"] or "–"),
        ("from", record["source"]),
        ("created", _moment(record.get("created"), "–")),
        ("last used", _moment(record.get("lastUsed"), "never")),
        ("by", record.get("userAgent", "–")),
        ("expires", _ends(record)),
        ("old key good until", _moment(record.get("oldKeyUntil"), "–")),
        ("models", ", ".join(record.get("models", ("all",)))),
        ("networks", ", ".join(record.get("networks", ("all",)))),
        *((f"{unit} at most", f"{limits[name]:,}" if name in limits else "no limit") for name, unit in UNITS),
        ("requests today", f"{used['requestsPerDay']:,}"),
        ("tokens today", f"{used['tokensPerDay']:,}"),
    )
    output.pairs(facts)


def _limits(record: Mapping[str, Any]) -> str:
    limits = record["limits"]
    return ", ".join(f"{limits[name]:,} {unit}" for name, unit in UNITS if name in limits)


def _used(record: Mapping[str, Any]) -> str:
    used = record["used"]
    return f"{used['requestsPerDay']:,} requests, {used['tokensPerDay']:,} tokens"


def _expires(record: Mapping[str, Any]) -> str:
    """The last day on which it is good."""
    return "has expired" if record["expired"] else _day(_last_moment(record.get("expires")), "never")


def _ends(record: Mapping[str, Any]) -> str:
    """To the minute; the end of a day as that day, as it is written."""
    day, end = _expires(record), record.get("expires")
    if end is None or record["expired"]:
        return day
    return _moment(end, day) if end.startswith(day) else f"at the end of {day} (UTC)"


def _last_moment(end: str | None) -> str | None:
    """The end of 2030-12-31 is kept as 2031-01-01T00:00:00.000Z: the first moment at which the key is good no more."""
    if end is None:
        return None
    return (datetime.fromisoformat(end) - timedelta(milliseconds=1)).isoformat()


def _day(time: str | None, nothing: str) -> str:
    return time[:10] if time else nothing


def _moment(time: str | None, nothing: str) -> str:
    """2026-11-22 02:19 UTC"""
    return f"{time[:16].replace('T', ' ')} UTC" if time else nothing
