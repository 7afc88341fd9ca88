"""Reading what a foreign server says of its models: a value of the right kind, or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """The objects of a list."""
    return (each for each in value if isinstance(each, dict)) if isinstance(value, list) else iter(())


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str:
    """A line of up to 512 characters that may be shown; else ""."""
    usable = isinstance(value, str) and 0 < len(value) <= 512 and value.isprintable() and value.strip() == value
    return value if usable else ""


def count(value: Any) -> int | None:
    """A whole number above 0."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1 << 62
    return int(value) if usable else None
