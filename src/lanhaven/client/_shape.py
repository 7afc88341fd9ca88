"""JSON objects to typed ones and back, by their annotations. Pure.

Servers differ, and the next version of one knows more fields: what has no name here, or a type it should not have, is
kept in `extra`. Only what a reply is nothing without is an error.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Any, Self, Union, get_args, get_origin, get_type_hints

from msgspec import Struct, field
from msgspec.structs import asdict, fields

from lanhaven.errors import UpstreamError

EMPTY: Mapping[str, Any] = types.MappingProxyType({})

Convert = Callable[[Any], Any]


class _Misfit(Exception):
    """A value that is not of the type that stands in the annotation."""


def nothing() -> Mapping[str, Any]:
    """An empty mapping, as a field's default_factory: before Python 3.12 it may not be the default itself."""
    return EMPTY


class Shape(Struct, frozen=True, kw_only=True):
    """What all typed requests and replies have. (Structs, because forty dataclasses take 40 ms to import.)

    extra: in a reply the fields that have no attribute here; in a request further fields to send.
    """

    extra: Mapping[str, Any] = field(default_factory=nothing)

    @classmethod
    def read(cls, value: Any) -> Self:
        """From decoded JSON. UpstreamError if it is no such object."""
        try:
            found: Self = _read(cls, value)
        except _Misfit as misfit:
            raise UpstreamError(f"The server's reply is no {cls.__name__}: {misfit}.") from None
        return found

    def to_dict(self) -> dict[str, Any]:
        """As JSON wants it: only what is said, `extra` beside the rest."""
        said = {name: plain(value) for name, value in asdict(self).items() if name != "extra" and value is not None}
        return {**self.extra, **said}


def plain(value: Any) -> Any:
    """Typed ones as dictionaries, sequences as lists, enums as their values, at any depth."""
    match value:
        case Shape():
            return value.to_dict()
        case Enum():
            return value.value
        case str() | bytes():
            return value
        case Mapping():
            return {name: plain(item) for name, item in value.items()}
        case Sequence():
            return [plain(item) for item in value]
        case _:
            return value


def camel(name: str) -> str:
    """model_key -> modelKey."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _read(kind: Any, value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise _Misfit("it is not an object")
    plan = _plan(kind)
    known: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, item in value.items():
        found = plan.get(name)
        if found is None:
            extra[name] = item
        elif item is not None:
            attribute, convert = found
            try:
                known[attribute] = convert(item)
            except _Misfit:
                extra[name] = item
    for name in _needed(kind):
        if name not in known:
            raise _Misfit(f"it has no {name}")
    return kind(**known, extra=extra)


@cache
def _needed(kind: type[Shape]) -> tuple[str, ...]:
    return tuple(
        each.name for each in fields(kind) if each.required
    )  # fmt: skip


@cache
def _plan(kind: type[Shape]) -> Mapping[str, tuple[str, Convert]]:
    """Name in JSON, also in camelCase -> attribute, and what makes its value."""
    hints = get_type_hints(kind)
    plan = {each.name: (each.name, _converter(hints[each.name])) for each in fields(kind) if each.name != "extra"}
    return {camel(name): entry for name, entry in plan.items()} | plan


def _converter(hint: Any) -> Convert:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        rest = [each for each in arguments if each is not types.NoneType]
        return _or_none(_converter(rest[0])) if len(rest) == 1 else _as_is
    if origin is tuple:
        return _tuple(_converter(arguments[0]))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _leaf(Mapping)
    if isinstance(hint, type) and issubclass(hint, Shape):
        return lambda value: _read(hint, value)
    if hint is float:
        return _number
    return _leaf(hint) if hint in (str, int, bool) else _as_is


def _as_is(value: Any) -> Any:
    return value


def _or_none(convert: Convert) -> Convert:
    return lambda value: None if value is None else convert(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Misfit("it is not a number")
    return float(value)


def _leaf(kind: type[Any]) -> Convert:
    def check(value: Any) -> Any:
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise _Misfit(f"it is not {kind.__name__}")
        return value

    return check


def _tuple(convert: Convert) -> Convert:
    def each(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _Misfit("it is not a list")
        return tuple(convert(item) for item in value)

    return each
