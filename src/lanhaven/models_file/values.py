"""One value of models.yaml: what it must be, the error with file and line when it is not, and the same for editors.

A reader carries what JSON Schema can say of its value, so that there is one table of fields and no second one.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Generic, TypeVar

from lanhaven.config.units import duration
from lanhaven.config.yaml_text import Items, Node, Scalar, Table, plain, wrong
from lanhaven.errors import InvalidRequest
from lanhaven.models_file import shapes
from lanhaven.models_file.shapes import Schema

T = TypeVar("T")
Word = TypeVar("Word", bound=StrEnum)

_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_CAMEL = re.compile(r"(?<=[a-z0-9])([A-Z])")
LONGEST_NAME = 200
RESERVED_NAMES = frozenset({"default", "auto"})


def snake(name: str) -> str:
    """ "contextLength" -> "context_length"; snake_case stays."""
    return _CAMEL.sub(r"_\1", name).lower()


def spelled(field: str) -> str:
    """ "top_p" -> "topP", as the admin API spells it."""
    first, *rest = field.split("_")
    return first + "".join(part.capitalize() for part in rest)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: the file's name and the names leading to it, as in "models[2].load.slots"."""

    file: str
    path: str

    def inner(self, name: str) -> Place:
        """A value inside this one."""
        return Place(self.file, f"{self.path}.{name}" if self.path else name)

    def wrong(self, node: Node | int, problem: str, hint: str) -> InvalidRequest:
        """The error for this value."""
        line = node if isinstance(node, int) else node.line
        subject = f"{self.path} {problem}" if self.path else problem
        return wrong(self.file, line, subject, hint=hint, param=self.path)


@dataclass(frozen=True, slots=True)
class Reader(Generic[T]):
    """Reads one value; InvalidRequest where it is wrong. `schema`: the same for editors, as far as it can be said."""

    read: Callable[[Node, Place], T]
    schema: Schema

    def __call__(self, node: Node, place: Place) -> T:
        return self.read(node, place)

    def meaning(self, words: str) -> Reader[T]:
        """The same reader, with what the field means: a sentence for people."""
        return replace(self, schema={**self.schema, "description": words})


def _shaped(schema: Schema) -> Callable[[Callable[[Node, Place], T]], Reader[T]]:
    """Makes a reader of a function."""
    return lambda read: Reader(read, schema)


@_shaped(shapes.TEXT)
def text(node: Node, place: Place) -> str:
    """Any scalar, as written: `no`, `1.0` and `2026-11-21` are the words they look like."""
    if not isinstance(node, Scalar) or node.empty:
        raise place.wrong(node, "must be text", f"write `{_last(place)}: some text`")
    return node.text


@_shaped(shapes.NAME)
def name(node: Node, place: Place) -> str:
    """A model's name or alias: printable, on one line, no option-like dash in front, none of the reserved words."""
    value = text(node, place)
    if not value.isprintable() or value != value.strip() or not value:
        raise place.wrong(node, f"{value!r} is not a name", "use printable characters, without blanks at the ends")
    if len(value) > LONGEST_NAME:
        raise place.wrong(node, f"is longer than {LONGEST_NAME} characters", "use a shorter name")
    if value.startswith("-"):
        raise place.wrong(node, f"{value!r} begins with a dash, like an option", "choose another first character")
    if value.lower() in RESERVED_NAMES:
        raise place.wrong(node, f"{value!r} means the active model in requests", "choose another name")
    return value


@_shaped(shapes.WORD)
def word(node: Node, place: Place) -> str:
    """A short identifier, e.g. a provider's name or a type of numbers."""
    value = text(node, place)
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", value):
        raise place.wrong(node, f"{value!r} is not a word", "use letters, digits and _")
    return value


@_shaped(shapes.TRUTH)
def truth(node: Node, place: Place) -> bool:
    """true or false (also yes/no, on/off)."""
    value = _TRUTHS.get(text(node, place).lower())
    if value is None:
        raise place.wrong(node, f"{text(node, place)!r} is neither true nor false", "write true or false")
    return value


@_shaped(shapes.DURATION)
def seconds(node: Node, place: Place) -> float:
    """A duration: seconds, or with a unit."""
    try:
        return duration(text(node, place))
    except ValueError as error:
        raise place.wrong(node, str(error), "write 1800, 30m or 0") from None


def integer(low: int, high: int) -> Reader[int]:
    """A whole number within bounds."""

    def read(node: Node, place: Place) -> int:
        value = plain(node) if isinstance(node, Scalar) else None
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise place.wrong(node, f"must be a whole number from {low} to {high}", f"write `{_last(place)}: {low}`")
        return value

    return Reader(read, {"type": "integer", "minimum": low, "maximum": high})


def number(low: float, high: float = math.inf) -> Reader[float]:
    """A number within bounds."""

    def read(node: Node, place: Place) -> float:
        value = plain(node) if isinstance(node, Scalar) else None
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if value is None or not is_number or not low <= value <= high:
            bounds = f"from {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
            raise place.wrong(node, f"must be a number {bounds}", f"write `{_last(place)}: {low:g}`")
        return float(value)

    return Reader(read, {"type": "number", "minimum": low, **({"maximum": high} if high < math.inf else {})})


def one_of(words: type[Word]) -> Reader[Word]:
    """One of the words of an enumeration."""

    def read(node: Node, place: Place) -> Word:
        written = text(node, place)
        if written not in list(words):
            hint = f"write `{_last(place)}: {next(iter(words))}`"
            raise place.wrong(node, f"{written!r} is none of {', '.join(words)}", hint)
        return words(written)

    return Reader(read, {"enum": [*words]})


def several(reader: Reader[T], most: int) -> Reader[tuple[T, ...]]:
    """A list; one value alone stands for a list of one."""

    def read(node: Node, place: Place) -> tuple[T, ...]:
        items = node.items if isinstance(node, Items) else [node]
        if len(items) > most:
            raise place.wrong(node, f"has more than {most} items", "shorten the list")
        return tuple(reader(item, place) for item in items)

    return Reader(read, shapes.several(reader.schema, most))


def record(
    readers: Mapping[str, Reader[Any]], *, written: Callable[[str], str] = spelled, **other_names: str
) -> Reader[dict[str, Any]]:
    """A mapping with these fields, in snake_case or camelCase, or by another name; what is null is left out.

    written: the spelling that editors propose.
    """

    def read(node: Node, place: Place) -> dict[str, Any]:
        if isinstance(node, Scalar) and node.empty:
            return {}
        if not isinstance(node, Table):
            raise place.wrong(node, "must be a mapping", "write lines like `name: value` below it")
        values: dict[str, Any] = {}
        for key, value in node.entries.items():
            field, inner = other_names.get(snake(key), snake(key)), place.inner(key)
            if field not in readers:
                raise inner.wrong(node.key_lines[key], "is not known", did_you_mean(key, readers))
            if field in values:
                raise inner.wrong(node.key_lines[key], "is said twice, in two spellings", "keep one of them")
            if not (isinstance(value, Scalar) and value.empty):
                values[field] = readers[field](value, inner)
        return values

    spellings: dict[str, list[str]] = {written(field): [] for field in readers}
    for field in readers:
        also = (field, *(name for name, meant in other_names.items() if meant == field))
        every = dict.fromkeys(each for name in also for each in (name, spelled(name)))
        spellings[written(field)] = [each for each in every if each != written(field)]
    fields = {written(field): reader.schema for field, reader in readers.items()}
    return Reader(read, shapes.record(fields, spellings))


@_shaped(shapes.MAPPING)
def anything(node: Node, place: Place) -> dict[str, Any]:
    """A mapping that belongs to somebody else: plain values by the core schema of YAML."""
    if not isinstance(node, Table):
        raise place.wrong(node, "must be a mapping", "write lines like `name: value` below it")
    value: dict[str, Any] = plain(node)
    return value


def did_you_mean(key: str, known: Iterable[str]) -> str:
    """The nearest known name, else all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(snake(key), names, 1)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(names)}"


def _last(place: Place) -> str:
    return place.path.rpartition(".")[2]
