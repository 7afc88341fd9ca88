"""Durations and sizes as people write them. Pure; all refusals are ValueErrors that say what to write instead."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
LONGEST = 366 * SECONDS["d"]
LARGEST = 2**60

_PLAIN = re.compile(r"[0-9]+(\.[0-9]*)?")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?)(ms|s|m|h|d)")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]*)?)\s*([a-z]+)")

# The same for editors, as JSON Schema. The patterns hold in Python and in JavaScript; the messages are for people.
_FIGURE = r"[0-9]+(\.[0-9]*)?"
DURATION_SHAPE: Mapping[str, Any] = MappingProxyType(
    {
        "type": ["number", "string"],
        "minimum": 0,
        "maximum": LONGEST,
        "pattern": rf"^\s*({_FIGURE}|({_FIGURE}([mM][sS]|[sSmMhHdD]))+)\s*$",
        "patternErrorMessage": "Write seconds (1800), or a unit (250ms, 90s, 30m, 2h).",
    }
)
SIZE_SHAPE: Mapping[str, Any] = MappingProxyType(
    {
        "type": ["integer", "string"],
        "minimum": 0,
        "maximum": LARGEST,
        "pattern": rf"^\s*{_FIGURE}(\s*([kKmMgGtT][iI]?)?[bB])?\s*$",
        "patternErrorMessage": "Write bytes (33554432), or a unit (32MiB, 12GB).",
    }
)


def duration(value: object) -> float:
    """Seconds from a number of seconds, or from text: "30", "250ms", "5m", "1h30m". From 0 to 366 days."""
    seconds = _number(value)
    if seconds is None:
        seconds = _duration_text(str(value)) if isinstance(value, str) else None
    if seconds is None or not 0 <= seconds <= LONGEST:
        raise ValueError(f"{value!r} is not a duration: write seconds (30) or a unit (250ms, 5m, 2h), up to 366 days")
    return seconds


def size(value: object) -> int:
    """Bytes from a whole number of bytes, or from text: "32MiB", "12GB", "1.5 GiB". Never negative."""
    number = _number(value)
    if number is None:
        number = _size_text(str(value)) if isinstance(value, str) else None
    if number is None or not 0 <= number <= LARGEST or number != int(number):
        raise ValueError(f"{value!r} is not a size: write bytes (33554432) or a unit (32MiB, 12GB)")
    return int(number)


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int) and abs(value) <= LARGEST:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, str) and len(value) <= 40 and _PLAIN.fullmatch(value.strip()):
        return float(value) if "." in value else int(value)
    return None


def _duration_text(text: str) -> float | None:
    lowered = text.strip().lower()
    parts = _DURATION.findall(lowered) if len(lowered) <= 40 else []
    if not parts or "".join(number + unit for number, unit in parts) != lowered:
        return None
    return math.fsum(float(number) * SECONDS[unit] for number, unit in parts)


def _size_text(text: str) -> float | None:
    match = _SIZE.fullmatch(text.strip().lower()) if len(text) <= 40 else None
    if match is None or match[2] not in BYTES:
        return None
    return int(float(match[1]) * BYTES[match[2]])
