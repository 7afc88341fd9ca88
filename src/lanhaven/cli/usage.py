"""`usage`: who used what."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from lanhaven.cli import output
from lanhaven.cli.connection import Json, Key, Url, connect
from lanhaven.cli.output import Column, Row
from lanhaven.cli.units import here

By = Literal["key", "model", "day"]
FIRST = "firstTokenP50Ms"
NOBODY = {"key": "(no key)", "model": "(no model)"}


def usage(
    days: Annotated[
        int, typer.Option("--days", min=1, max=90, help="How far back; today is one of them, by the server's clock.")
    ] = 7,
    by: Annotated[By, typer.Option("--by", help="What is told apart: key, model or day.")] = "key",
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Sum up requests and tokens of the last days by key, model or day."""
    with connect(url, key) as server:
        answer = server.get("/debug/history/usage", days=str(days), by=by)
    if json:
        output.document(answer)
        return
    output.rows(_columns(by), answer["rows"], empty=f"no requests in the last {days} days")


def _columns(by: By) -> tuple[Column, ...]:
    return (
        Column(by.upper(), lambda row: row[by], lambda row: row[by] or NOBODY[by], cut=True),
        _count("REQUESTS", "requests"),
        _count("ERRORS", "errors"),
        _count("PROMPT TOKENS", "promptTokens"),
        _count("ANSWER TOKENS", "completionTokens"),
        Column(
            "FIRST TOKEN",
            lambda row: row.get("firstTokenP50Ms"),
            milliseconds("firstTokenP50Ms"),
            right=True,
            spare=True,
        ),
        Column("LAST USED", lambda row: row["lastUsed"], lambda row: here(row["lastUsed"])[:16], spare=True),
    )


def _count(heading: str, name: str) -> Column:
    return Column(heading, lambda row: row[name], lambda row: f"{row[name]:,}", right=True)


def milliseconds(name: str) -> output.Text:
    """A time for people: "310 ms", "12.4 s"; a dash where it is not known."""

    def text(row: Row) -> str:
        value = row.get(name)
        if value is None:
            return "–"
        return f"{value:.0f} ms" if value < 10_000 else f"{value / 1000:.1f} s"

    return text
