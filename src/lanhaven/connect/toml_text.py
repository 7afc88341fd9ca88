"""Values set in the text of a TOML file, line by line, with everything else kept as it is.

Only what is plain is done: a value that stands on a line of its own, in a table that has a heading. `edit` reads the
outcome again and refuses it if it says anything else than it should (a multi-line text that looks like a heading ...).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from lanhaven.connect.merging import Change
from lanhaven.connect.quoting import quoted

_HEADING = re.compile(r"^\s*\[")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def data(text: str) -> Any:
    """What the text says. ValueError."""
    return tomllib.loads(text)


def with_changes(text: str, wanted: Sequence[Change]) -> str:
    """The text with these values set. ValueError."""
    lines = text.splitlines()
    for change in wanted:
        lines = _with(lines, [str(key) for key in change.path], change.value)
    return "\n".join(lines) + "\n"


def _with(lines: list[str], path: list[str], value: Any) -> list[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            lines = _with(lines, [*path, name], inner)
        return lines
    *table, name = path
    table, name, value = _whole(lines, table, name, value)
    first, end = _table(lines, table)
    if first is None:
        gap = [""] if lines and lines[-1].strip() else []
        return [*lines, *gap, f"[{_dotted(table)}]", f"{_dotted([name])} = {_written(value)}"]
    new = f"{_dotted([name])} = {_written(value)}"
    said = re.compile(rf"^\s*(?:{re.escape(name)}|\"{re.escape(name)}\")\s*=")
    for index in range(first, end):
        if said.match(lines[index]):
            return [*lines[:index], new + _comment(lines[index]), *lines[index + 1 :]]
    while end > first and not lines[end - 1].strip():
        end -= 1
    gap = [""] if not table and end < len(lines) and lines[end].strip() else []
    return [*lines[:end], new, *gap, *lines[end:]]


def _whole(lines: list[str], table: list[str], name: str, value: Any) -> tuple[list[str], str, Any]:
    """A table within one that has a heading is written in one line: `http_headers = { ... }`."""
    if not table or _table(lines, table)[0] is not None:
        return table, name, value
    outer = _table(lines, table[:-1])
    if outer[0] is not None and len(table) > 2:
        return table[:-1], table[-1], {name: value}
    return table, name, value


def _table(lines: list[str], table: list[str]) -> tuple[int | None, int]:
    """Its lines, without the heading; (None, 0) if it has none."""
    headings = [index for index, line in enumerate(lines) if _HEADING.match(line)]
    if not table:
        return 0, headings[0] if headings else len(lines)
    for place, index in enumerate(headings):
        if _named(lines[index]) == table:
            return index + 1, headings[place + 1] if place + 1 < len(headings) else len(lines)
    return None, 0


def _named(heading: str) -> list[str] | None:
    """The table of a heading; None for one of a list of tables."""
    try:
        found: Any = tomllib.loads(heading)
    except tomllib.TOMLDecodeError:
        return None
    names = []
    while isinstance(found, dict) and found:
        name, found = next(iter(found.items()))
        names.append(name)
    return names if found == {} else None


def _comment(line: str) -> str:
    """The comment at the end of a line, with the blanks before it. A # may also stand in a text."""
    for found in re.finditer(r"\s*#", line):
        try:
            tomllib.loads(line[: found.start()])
        except tomllib.TOMLDecodeError:
            continue
        return line[found.start() :]
    return ""


def _dotted(names: Sequence[str]) -> str:
    return ".".join(each if _BARE.fullmatch(each) else quoted(each) for each in names)


def _written(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case str():
            return quoted(value)
        case Mapping():
            return f"{{ {', '.join(f'{_dotted([name])} = {_written(inner)}' for name, inner in value.items())} }}"
        case _:
            raise ValueError(f"{value!r} has no place in TOML")
