"""The table of `bench`, and what is to be said about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lanhaven.cli.output import Column, Row, Text
from lanhaven.cli.usage import milliseconds

SHORT = 0.9  # of the tokens asked for; answers below that are told


def remarks(rows: Sequence[Row], tokens: int) -> Iterator[str]:
    """What the figures alone do not tell."""
    for row in rows:
        for text, count in row["errorTexts"].items():
            yield f"{row['concurrency']} at once, {count} failed: {text}"
        if not row["complete"]:
            yield f"{row['concurrency']} at once was interrupted: of its requests those count that were answered"
    if tokens and any(row["requests"] and row["completionTokens"] is None for row in rows):
        yield "the engine did not count its tokens"
    counted = [row for row in rows if row.get("completionTokens")]
    mean = sum(row["completionTokens"] for row in counted) / (sum(row["requests"] for row in counted) or 1)
    if counted and mean < SHORT * tokens:
        yield f"answers ended by themselves, after {mean:.0f} tokens on average"


def _number(heading: str, name: str) -> Column:
    return Column(heading, lambda row: row[name], right=True)


def _rate(heading: str, name: str) -> Column:
    return Column(heading, lambda row: row[name], _rounded(name), right=True)


def _rounded(name: str) -> Text:
    def text(row: Row) -> str:
        value = row[name]
        if value is None:
            return "–"
        return f"{value:.1f}" if value < 1000 else f"{value:,.0f}"

    return text


def _time(heading: str, name: str) -> Column:
    return Column(heading, lambda row: row[name], milliseconds(name), right=True)


TEXTS = (
    _number("AT ONCE", "concurrency"),
    _number("REQUESTS", "requests"),
    _time("FIRST P50", "firstTokenP50Ms"),
    _time("FIRST P95", "firstTokenP95Ms"),
    _rate("TOK/S EACH", "tokensPerSecondEach"),
    _rate("TOK/S ALL", "tokensPerSecond"),
    _rate("PROMPT/S", "promptTokensPerSecond"),
    _number("ERRORS", "errors"),
)
EMBEDDINGS = (
    _number("AT ONCE", "concurrency"),
    _number("REQUESTS", "requests"),
    _time("TIME P50", "latencyP50Ms"),
    _time("TIME P95", "latencyP95Ms"),
    _rate("EMBEDDINGS/S", "embeddingsPerSecond"),
    _rate("PROMPT/S", "promptTokensPerSecond"),
    _number("ERRORS", "errors"),
)
