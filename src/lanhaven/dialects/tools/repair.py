"""JSON as models write it, mended where only one thing can be meant. Pure.

Mended: line breaks within strings, a comma before a closing bracket, strings in single quotes, Python's True, False and
None, brackets that are missing at the very end. What is cut within a string or a word stays unreadable.
"""

from __future__ import annotations

import json
import re
from typing import Any

_STRICT = json.JSONDecoder(strict=False)
_CLOSERS = {"{": "}", "[": "]"}
_WORDS = {"True": "true", "False": "false", "None": "null"}
_PART = re.compile(r"""\s+|[{}\[\],:]|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s{}\[\],:"']+""", re.DOTALL)
MAX_NESTING = 64


class Unreadable(ValueError):
    """Not JSON, and nothing that could be mended to it."""


class MoreSaid(Unreadable):
    """Readable, and words follow."""


def read_value(text: str, start: int = 0) -> tuple[Any, int]:
    """The first value at `start` and where it ends. Unreadable if there is none."""
    start += len(text[start:]) - len(text[start:].lstrip())
    try:
        value, end = _STRICT.raw_decode(text, start)
        return value, end
    except (ValueError, RecursionError):
        pass
    mended, end = _mended(text, start)
    try:
        return json.loads(mended, strict=False), end
    except (ValueError, RecursionError):
        raise Unreadable("no JSON") from None


def _mended(text: str, start: int) -> tuple[str, int]:
    """The value at `start`, written as JSON, and where it ends."""
    out: list[str] = []
    open_ones: list[str] = []
    at = start
    while at < len(text) and (found := _PART.match(text, at)) is not None:
        at, part = found.end(), found[0]
        if part.isspace():
            continue
        if part in _CLOSERS:
            open_ones.append(_CLOSERS[part])
            if len(open_ones) > MAX_NESTING:
                break
        elif part in "}]":
            _drop_comma(out)
            if not open_ones or open_ones.pop() != part:
                raise Unreadable("its brackets do not fit")
        out.append(_written(part))
        if not open_ones:
            return "".join(out), at
    if at < len(text):
        raise Unreadable("it ends in the middle of a string")
    _drop_comma(out)
    return "".join(out) + "".join(reversed(open_ones)), at


def _drop_comma(out: list[str]) -> None:
    if out and out[-1] == ",":
        out.pop()


def _written(part: str) -> str:
    if part.startswith("'"):
        return json.dumps(part[1:-1].replace("\\'", "'"))
    return _WORDS.get(part, part)


def read_arguments(value: Any) -> dict[str, Any]:
    """A call's arguments: an object, one written as a string, or nothing at all. Unreadable for anything else."""
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        value, end = read_value(text := value.strip())
        if text[end:].strip():
            raise Unreadable("its arguments are more than one object")
    if not isinstance(value, dict):
        raise Unreadable("its arguments are no object")
    return value
