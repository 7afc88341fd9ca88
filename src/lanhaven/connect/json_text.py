"""Values set in the text of a JSON file, with its comments, blank lines and trailing commas kept as they are.

What editors call JSON has // and /* */ comments and commas before closing brackets (VS Code, Zed), which a parser alone
would lose. So the text is read with the places of all values, and only what changes is written anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lanhaven.connect.merging import Change

_BLANK = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_SCALAR = re.compile(r"-?\d[\d.eE+-]*|true|false|null")
_REST_OF_LINE = re.compile(r"[ \t]*(?:/\*[^\n]*?\*/[ \t]*)*(?://[^\n]*)?(?=\n|$)")
_INDENTED = re.compile(r"^([ \t]+)\S", re.MULTILINE)
DEEPEST = 200


@dataclass(slots=True)
class Node:
    """A value and where it stands: text[start:end]. children: of an object by name, of a list by place."""

    value: Any
    start: int
    end: int = 0
    children: dict[str | int, Node] = field(default_factory=dict)
    trailing: int | None = None  # the end of a comma after the last child


def data(text: str) -> Any:
    """What the text says. ValueError if it is not JSON, comments and trailing commas allowed; None if it is empty."""
    return _read(text).value if _BLANK.sub("", text) else None


def with_changes(text: str, wanted: Sequence[Change]) -> str:
    """The text with these values set, one after the other. ValueError."""
    for change in wanted:
        text = _with(text, change)
    return text


def _with(text: str, change: Change) -> str:
    node = _read(text)
    for depth, key in enumerate(change.path):
        if key not in node.children:
            if depth != len(change.path) - 1:
                raise ValueError(f"there is no {key!r}")
            return _added(text, node, key, change.value)
        node = node.children[key]
    unit = _unit(text)
    written = _written(change.value, _indent_at(text, node.start), unit)
    return text[: node.start] + written + text[node.end :]


def _added(text: str, node: Node, key: str | int, value: Any) -> str:
    """A new last child of an object or a list."""
    unit, inside = _unit(text), text[node.start : node.end]
    on_one_line = "\n" not in inside and bool(node.children)
    name = f"{json.dumps(key, ensure_ascii=False)}: " if isinstance(node.value, dict) else ""
    if on_one_line:
        last = list(node.children.values())[-1]
        return f"{text[: last.end]}, {name}{json.dumps(value, ensure_ascii=False)}{text[last.end :]}"
    outer = _indent_at(text, node.start)
    indent = _indent_at(text, list(node.children.values())[-1].start) if node.children else outer + unit
    written = f"\n{indent}{name}{_written(value, indent, unit)}"
    if not node.children:
        rest = text[node.start + 1 :]
        close = "" if rest[: node.end - node.start - 1].lstrip(" \t").startswith("\n") else f"\n{outer}"
        return text[: node.start + 1] + written + close + rest
    last = list(node.children.values())[-1]
    at = node.trailing or last.end
    line_end = _REST_OF_LINE.match(text, at)
    end = line_end.end() if line_end is not None else at
    comma = ("", ",") if node.trailing else (",", "")
    close = "" if text[end : end + 1] == "\n" else f"\n{outer}"
    return text[:at] + comma[0] + text[at:end] + written + comma[1] + close + text[end:]


def _written(value: Any, indent: str, unit: str) -> str:
    """A value over several lines, as if it stood at this indentation."""
    return json.dumps(value, indent=unit, ensure_ascii=False).replace("\n", f"\n{indent}")


def _indent_at(text: str, place: int) -> str:
    """The blanks that the line of this place begins with."""
    line = text[text.rfind("\n", 0, place) + 1 : place]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _unit(text: str) -> str:
    """One level of indentation."""
    found = _INDENTED.search(text)
    return found[1] if found is not None else "  "


# ---- reading


def _read(text: str) -> Node:
    node = _value(text, _skip(text, 0), 0)
    end = _skip(text, node.end)
    if end != len(text):
        raise _wrong(text, end, "something follows")
    return node


def _value(text: str, at: int, depth: int) -> Node:
    if depth > DEEPEST:
        raise _wrong(text, at, "it is nested too deep")
    match text[at : at + 1]:
        case "{":
            return _children(text, Node({}, at), "}", depth)
        case "[":
            return _children(text, Node([], at), "]", depth)
        case '"':
            return _string(text, at)
        case _:
            found = _SCALAR.match(text, at)
            if found is None:
                raise _wrong(text, at, "a value is missing")
            return Node(json.loads(found[0]), at, found.end())


def _children(text: str, node: Node, closing: str, depth: int) -> Node:
    at = _skip(text, node.start + 1)
    while text[at : at + 1] != closing:
        key: str | int = len(node.children)
        if closing == "}":
            name = _string(text, at)
            key, at = name.value, _skip(text, name.end)
            if key in node.children:
                raise _wrong(text, name.start, f"{key!r} stands there twice")
            if text[at : at + 1] != ":":
                raise _wrong(text, at, "a colon is missing")
            at = _skip(text, at + 1)
        child = node.children[key] = _value(text, at, depth + 1)
        if isinstance(node.value, dict):
            node.value[key] = child.value
        else:
            node.value.append(child.value)
        at, node.trailing = _skip(text, child.end), None
        if text[at : at + 1] == ",":
            node.trailing = at + 1
            at = _skip(text, at + 1)
        elif text[at : at + 1] != closing:
            raise _wrong(text, at, "a comma or a bracket is missing")
    node.end = at + 1
    return node


def _string(text: str, at: int) -> Node:
    if text[at : at + 1] != '"':
        raise _wrong(text, at, "a name in quotes is missing")
    value, end = json.JSONDecoder().raw_decode(text, at)
    return Node(value, at, end)


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found is not None else at


def _wrong(text: str, at: int, problem: str) -> ValueError:
    return ValueError(f"line {text.count(chr(10), 0, at) + 1}: {problem}")
