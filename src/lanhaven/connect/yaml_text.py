"""Values set in the text of a YAML file, with its comments, quotes and indentation kept (ruamel.yaml's round trip)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.util import load_yaml_guess_indent

from lanhaven.connect.merging import Change

# ruamel.yaml loses the line --- and a comment above it.
_BLANK = r"(?:[ \t]*(?:#[^\n]*)?\n)*"
_HEAD = re.compile(rf"{_BLANK}---[ \t]*(?:#[^\n]*)?\n")
# A mapping's first name, and where it stands: `a:` and below it, further right, `b:`.
_MAPPING = re.compile(rf"^( *)(?!- )[^\s#][^\n]*:[ \t]*(?:#[^\n]*)?\n{_BLANK}(\1 +)(?!-\s)[^\s#]", re.MULTILINE)
WIDEST = 100_000  # columns: no line of the file is broken anew


def data(text: str) -> Any:
    """What the text says. ValueError."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def with_changes(text: str, wanted: Sequence[Change]) -> str:
    """The text with these values set. ValueError."""
    head = _HEAD.match(text)
    start = head.end() if head is not None else 0
    try:
        return text[:start] + _with(text[start:], wanted)
    except (YAMLError, AttributeError, IndexError) as error:  # what ruamel raises on odd input
        raise ValueError(" ".join(str(error).split())) from error


def _with(text: str, wanted: Sequence[Change]) -> str:
    _, indent, offset = load_yaml_guess_indent(text)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = WIDEST
    nested = _MAPPING.search(text)
    mapping = len(nested[2]) - len(nested[1]) if nested is not None else 2
    if re.search(r"^ *-\s", text, re.MULTILINE):
        yaml.indent(mapping=mapping, sequence=indent or 2, offset=offset or 0)
    else:
        yaml.indent(mapping=mapping, sequence=mapping + 2, offset=mapping)
    document = yaml.load(text)
    for change in wanted:
        _set(document, change)
    written = StringIO()
    yaml.dump(document, written)
    return written.getvalue()


def _set(document: Any, change: Change) -> None:
    *path, last = change.path
    inner = document
    for key in path:
        inner = inner[key]
    if last == -1:
        inner.append(change.value)
    else:
        inner[last] = change.value
