"""A strict reader of YAML: one document of plain mappings, lists and scalars, each with its line.

Refused, with the line: aliases and anchors (a 271-byte alias bomb dumps to 254 MB), tags, duplicate keys, several
documents, deep nesting, large files. Scalars keep their text, so that `id: no` and `id: 1.0` are the strings the writer
meant; what is to be a number or a truth value becomes one by the core schema of YAML 1.2 (`plain`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from lanhaven.errors import InvalidRequest

LARGEST_FILE = 2**20
DEEPEST = 16

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,30})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUTHS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value, as written. `quoted`: it stood in quotes or in a block, so it is text whatever it looks like."""

    text: str
    quoted: bool
    line: int

    @property
    def empty(self) -> bool:
        """Nothing, `~` or `null`."""
        return not self.quoted and self.text in _NULLS


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: list[Node]
    line: int


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping, with the line of each key."""

    entries: dict[str, Node]
    line: int
    key_lines: dict[str, int] = field(default_factory=dict)


Node = Scalar | Items | Table


def wrong(name: str, line: int | None, problem: str, *, hint: str, param: str | None = None) -> InvalidRequest:
    """The error for a file: "models.yaml:12: ..."."""
    where = name if line is None else f"{name}:{line}"
    return InvalidRequest(f"{where}: {problem}", param=param, hint=hint, facts={"file": name, "line": line})


def read_file(path: Path) -> Table:
    """The mapping in a file. FileNotFoundError where there is none; InvalidRequest where it cannot be used."""
    return parse(read_text(path), path.name)


def read_text(path: Path) -> str:
    """The text of a regular, not too large UTF-8 file."""
    try:
        if path.exists() and not path.is_file():  # a FIFO would block, /dev/zero would never end
            raise wrong(path.name, None, "is not a regular file", hint="give the path of a file")
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        hint = f"check the permissions of {path}"
        raise wrong(path.name, None, f"cannot be read: {error.strerror}", hint=hint) from error
    if len(raw) > LARGEST_FILE:
        raise wrong(path.name, None, "is larger than 1 MiB", hint="split it, or check that it is the right file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise wrong(path.name, line, "is not UTF-8", hint="save the file as UTF-8") from error


def parse(text: str, name: str) -> Table:
    """The top mapping of one document; an empty document is an empty mapping."""
    try:
        documents = list(_documents(YAML(typ="safe", pure=True).parse(text), name))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        hint = "check indentation, quotes and colons there"
        raise wrong(name, line, f"is not YAML: {error.problem}", hint=hint) from error
    except (YAMLError, ValueError, IndexError, AssertionError) as error:  # what ruamel raises on odd input
        raise wrong(name, None, "is not YAML (control characters?)", hint="save it as plain UTF-8 text") from error
    if len(documents) > 1:
        raise wrong(name, documents[1].line, "a second document begins", hint="remove the line with ---")
    top = documents[0] if documents else Table({}, 1)
    if isinstance(top, Scalar) and top.empty:
        return Table({}, top.line)
    if not isinstance(top, Table):
        raise wrong(name, top.line, "must be a mapping of names to values", hint="write lines like `name: value`")
    return top


def plain(node: Node) -> Any:
    """None, bool, int, float, str, list or dict by the core schema of YAML 1.2 (`no` is text; 0123 is text)."""
    match node:
        case Table():
            return {key: plain(value) for key, value in node.entries.items()}
        case Items():
            return [plain(value) for value in node.items]
    if node.quoted:
        return node.text
    if node.text in _NULLS:
        return None
    if node.text in _TRUTHS:
        return _TRUTHS[node.text]
    if _INTEGER.fullmatch(node.text):
        return int(node.text)
    return float(node.text) if _FLOAT.fullmatch(node.text) else node.text


def _documents(events: Iterator[Event], name: str) -> Iterator[Node]:
    for event in events:
        if not isinstance(event, StreamStartEvent | StreamEndEvent | DocumentStartEvent | DocumentEndEvent):
            yield _node(event, events, name, 0)


def _node(event: Event, events: Iterator[Event], name: str, depth: int) -> Node:
    line = event.start_mark.line + 1
    if isinstance(event, AliasEvent) or (isinstance(event, NodeEvent) and event.anchor is not None):
        raise wrong(name, line, "anchors and aliases (&, *) are not supported", hint="write it out, or quote it")
    if isinstance(event, ScalarEvent | CollectionStartEvent) and event.tag is not None:
        raise wrong(name, line, "tags (!) are not supported", hint="quote the value if it begins with !")
    if depth > DEEPEST:
        raise wrong(name, line, f"is nested deeper than {DEEPEST} levels", hint="check the indentation")
    if isinstance(event, ScalarEvent):
        return Scalar(event.value, quoted=not event.implicit[0], line=line)
    if isinstance(event, MappingStartEvent):
        return _table(events, name, depth, line)
    return Items([_node(inner, events, name, depth + 1) for inner in _inside(events)], line)


def _table(events: Iterator[Event], name: str, depth: int, line: int) -> Table:
    table = Table({}, line)
    for event in _inside(events):
        key = _node(event, events, name, depth + 1)
        if not isinstance(key, Scalar) or key.empty:
            raise wrong(name, key.line, "a key must be a word", hint="write lines like `name: value`")
        if key.text in table.entries:
            first = table.key_lines[key.text]
            problem = f"{key.text!r} stands here and in line {first}"
            raise wrong(name, key.line, problem, hint="keep one of them", param=key.text)
        table.key_lines[key.text] = key.line
        table.entries[key.text] = _node(next(events), events, name, depth + 1)
    return table


def _inside(events: Iterator[Event]) -> Iterator[Event]:
    """The starts of the nodes of the open collection, up to its end."""
    for event in events:
        if not isinstance(event, NodeEvent):
            return
        yield event
