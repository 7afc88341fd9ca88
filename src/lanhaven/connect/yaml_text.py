"""Values set in the text of a YAML file, with its comments, quotes and indentation kept (ruamel.yaml's round trip)."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.util import load_yaml_guess_indent

from lanhaven.connect.merging import Change

WIDEST = 100_000  # columns: no line of the file is broken anew


def data(text: str) -> Any:
    """What the text says. ValueError."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def with_changes(text: str, wanted: Sequence[Change]) -> str:
    """The text with these values set. ValueError."""
    try:
        return _with(text, wanted)
    except (YAMLError, AttributeError, IndexError) as error:  # what ruamel raises on odd input
        raise ValueError(" ".join(str(error).split())) from error


def _with(text: str, wanted: Sequence[Change]) -> str:
    _, indent, offset = load_yaml_guess_indent(text)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = WIDEST
    if indent is not None:
        yaml.indent(mapping=indent if offset == 0 else 2, sequence=indent, offset=offset or 0)
    else:
        yaml.indent(mapping=2, sequence=4, offset=2)
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
