"""Which lines of a models.yaml belong to what, and the text with some of them changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode

from lanhaven.config.yaml_text import wrong
from lanhaven.errors import InvalidRequest
from lanhaven.models_file.render import setting

_BREAK = re.compile(r"\r\n?|\n")  # as YAML 1.2 counts lines; str.splitlines knows more ends of a line
INDENT = 2  # columns before the dash of the first entry of a list that was empty


@dataclass(frozen=True, slots=True)
class Span:
    """Lines from `first` up to, not including, `end`, counted from 0; `column` is where they begin."""

    first: int
    end: int
    column: int


class Lines:
    """The text of a file that has been read without complaint, line by line."""

    def __init__(self, text: str, name: str) -> None:
        self._name = name
        self._lines = _BREAK.split(text.removesuffix("\n")) if text else []
        root = YAML(typ="safe", pure=True).compose(text)
        if root is not None and root.value and root.flow_style:
            raise self._unfit(root.start_mark.line + 1)
        pairs = root.value if root is not None else []
        self._keys = {key.value: (key, value) for key, value in pairs}
        self._models: Any = self._keys["models"][1] if "models" in self._keys else None

    def appended(self, entries: Sequence[Sequence[str]]) -> str:
        """The text with entries (lines without the dash) after the last one."""
        if self._models is None:
            gap = [""] if self._lines and self._lines[-1].strip() else []
            return self._joined([*self._lines, *gap, "models:", *_dashed(entries, INDENT)])
        if isinstance(self._models, ScalarNode) or not self._models.value:
            return self._filled(entries)
        last = self._entry(len(self._models.value) - 1)
        return self._joined([*self._lines[: last.end], *_dashed(entries, last.column), *self._lines[last.end :]])

    def replaced(self, indices: Iterable[int], change: Callable[[str], Sequence[str]]) -> str:
        """The text with entries' lines given through `change`, which gets them without dash and indentation."""
        lines = self._lines
        for index in sorted(indices, reverse=True):  # from below, so that the places of those above stay
            span = self._entry(index)
            dash, *rest = lines[span.first : span.end]
            undashed = dash[: span.column] + " " + dash[span.column + 1 :]
            inside = self._models.value[index].start_mark.column
            snippet = "\n".join(_outdented(line, inside) for line in (undashed, *rest)) + "\n"
            lines = [*lines[: span.first], *_dashed([change(snippet)], span.column), *lines[span.end :]]
        return self._joined(lines)

    def removed(self, index: int) -> str:
        """The text without one entry. Of two blank lines that meet, one goes."""
        span = self._entry(index)
        before, after = self._lines[: span.first], self._lines[span.end :]
        if after and not after[0].strip() and (not before or not before[-1].strip()):
            after = after[1:]
        return self._joined([*before, *after])

    def with_setting(self, name: str, value: str | float | None) -> str:
        """The text with a top-level setting of one line, or without it."""
        new = [] if value is None else [setting(name, value)]
        if name in self._keys:
            first, end, comment = self._setting(name)
            new = [line + comment for line in new]
        else:
            first = end = self._top()
        return self._joined([*self._lines[:first], *new, *self._lines[end:]])

    def _top(self) -> int:
        """Where a top-level setting goes: above the first one and its comment, but below a comment heading the file."""
        first = min((key.start_mark.line for key, _ in self._keys.values()), default=len(self._lines))
        line = first
        while line > 0 and self._lines[line - 1].startswith("#"):
            line -= 1
        return line or first

    def _filled(self, entries: Sequence[Sequence[str]]) -> str:
        """The text with the first entries of an empty list: `models: []` or `models:`."""
        first, end, comment = self._setting("models")
        return self._joined([*self._lines[:first], f"models:{comment}", *_dashed(entries, INDENT), *self._lines[end:]])

    def _setting(self, name: str) -> tuple[int, int, str]:
        """First line, end and trailing comment (with the blanks before it) of a top-level setting."""
        key, node = self._keys[name]
        if isinstance(node, ScalarNode) and node.style in {"|", ">"}:
            return key.start_mark.line, self._end(node), ""
        last = key if _is_nothing(node) else node
        rest = self._lines[last.end_mark.line][last.end_mark.column :]
        comment = rest[rest.index("#") :] if "#" in rest else ""
        gap = rest.partition("#")[0].lstrip(":") or " "
        return key.start_mark.line, last.end_mark.line + 1, gap + comment if comment else ""

    def _entry(self, index: int) -> Span:
        """The lines of one entry, from its dash on."""
        if self._models is None or self._models.flow_style:
            raise self._unfit(self._models.start_mark.line + 1 if self._models is not None else 1)
        node, column = self._models.value[index], self._models.start_mark.column
        first = node.start_mark.line
        while self._lines[first][: column + 1] != " " * column + "-":  # the dash may stand on a line of its own
            first -= 1
        return Span(first, max(self._end(node), first + 1), column)

    def _end(self, node: Any) -> int:
        """The line after the last one with content of a node."""
        if _is_nothing(node):
            return self._before_nothing(node.end_mark)
        if isinstance(node, ScalarNode):
            # A block scalar (| or >) ends at the start of a line after it; others end on their line.
            block = node.style in {"|", ">"} and node.end_mark.column == 0
            return int(node.end_mark.line) + (0 if block else 1)
        if node.flow_style or not node.value:
            return int(node.end_mark.line) + 1
        last = node.value[-1]
        return self._end(last[1] if isinstance(last, tuple) else last)

    def _before_nothing(self, mark: Any) -> int:
        """A value that is not there (`key:`) is marked where the next thing begins, beyond blank lines and comments."""
        line = int(mark.line)
        if line < len(self._lines) and self._lines[line][: mark.column].strip():
            return line + 1
        while self._lines[line - 1].lstrip()[:1] in {"", "#"}:
            line -= 1
        return line

    def _joined(self, lines: Sequence[str]) -> str:
        return "\n".join(lines).rstrip("\n") + "\n"

    def _unfit(self, line: int) -> InvalidRequest:
        hint = "write each model on lines of its own, beginning with `- id: its-name`"
        return wrong(self._name, line, "models in brackets cannot be edited by commands", hint=hint)


def _is_nothing(node: Any) -> bool:
    return isinstance(node, ScalarNode) and node.value == "" and not node.style


def _dashed(entries: Sequence[Sequence[str]], column: int) -> list[str]:
    margins = (" " * column + "- ", " " * column + "  ")
    return [(margins[index > 0] + line) if line else line for lines in entries for index, line in enumerate(lines)]


def _outdented(line: str, column: int) -> str:
    """Without the first `column` blanks; a comment that stands further left keeps its text."""
    return line[column:] if not line[:column].strip() else line.lstrip()
