"""Reading a provider's own settings: a reader for each kind of value, which says what is wrong with it, and in JSON
Schema what is right, for editors."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lanhaven.errors import InvalidRequest
from lanhaven.types.models import ModelKind

Reader = Callable[[str, Any], Any]  # (key, value) -> the value; InvalidRequest


@dataclass(frozen=True, slots=True)
class Shaped:
    """A reader with what JSON Schema can say of its value."""

    read: Reader
    schema: Mapping[str, Any]

    def __call__(self, key: str, value: Any) -> Any:
        return self.read(key, value)


def shaped(**schema: Any) -> Callable[[Reader], Shaped]:
    """Says the shape of what a reader takes: `@shaped(type="string")`."""
    return lambda read: Shaped(read, schema)


def wrong(key: str, value: object, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"config.{key} must be {wanted}, not {value!r}.", param=key)


def read_all(
    settings: Mapping[str, Any],
    readers: Mapping[str, Reader],
    provider: str,
    elsewhere: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """The values that were said (null is not said). InvalidRequest names a key that is unknown, and what may have been
    meant; `elsewhere` says it for settings of other programs' files."""
    for key in settings:
        if key not in readers:
            close = difflib.get_close_matches(str(key), readers, 1)
            advice = elsewhere.get(str(key)) or (
                f"did you mean {close[0]}?" if close else f"there are {', '.join(readers)}."
            )
            raise InvalidRequest(f"config.{key} is no setting of {provider}: {advice}", param=str(key))
    return {key: readers[key](key, value) for key, value in settings.items() if value is not None}


def integer(least: int, most: int | None = None) -> Reader:
    def read(key: str, value: Any) -> int:
        if type(value) is not int or value < least or (most is not None and value > most):
            raise wrong(key, value, f"a whole number from {least} {'on' if most is None else f'to {most}'}")
        return value

    bounds = {"minimum": least} if most is None else {"minimum": least, "maximum": most}
    return Shaped(read, {"type": "integer", **bounds})


@shaped(type="number", minimum=0)
def seconds(key: str, value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < float("inf"):
        raise wrong(key, value, "a number of seconds")
    return float(value)


@shaped(type="number", exclusiveMinimum=0)
def some_seconds(key: str, value: Any) -> float:
    """Longer than none: a clock that is asked without a pause is no clock."""
    if seconds(key, value) == 0:
        raise wrong(key, value, "more than 0 seconds")
    return float(value)


@shaped(type="string", pattern=r"\S")
def text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise wrong(key, value, "a text")
    return value


@shaped(type="string", pattern=r"\S")
def path(key: str, value: Any) -> Path:
    if isinstance(value, Path):
        return value
    return Path(text(key, value)).expanduser()


@shaped()
def as_is(key: str, value: Any) -> Any:
    """Read elsewhere."""
    return value


@shaped(type="boolean")
def flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise wrong(key, value, "true or false")
    return value


def one_of(names: Collection[str]) -> Reader:
    def read(key: str, value: Any) -> str:
        if value not in names:
            raise wrong(key, value, f"one of {', '.join(names)}")
        return str(value)

    return Shaped(read, {"enum": [*names]})


@shaped(enum=[each.value for each in ModelKind])
def model_kind(key: str, value: Any) -> ModelKind:
    return ModelKind(one_of([each.value for each in ModelKind])(key, value))


# What every provider is given of the server's own settings.
GENERAL: Mapping[str, Reader] = MappingProxyType(
    {"default_slots": integer(1), "prompt_cache_mib": integer(0), "engine_stop": seconds}
)
