"""Reading the parameters of calls. InvalidRequest names the field that is missing or wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from lanhaven.errors import InvalidRequest

T = TypeVar("T")


def table(parameter: Any) -> Mapping[str, Any]:
    """The whole parameter, which must be an object."""
    if not isinstance(parameter, dict):
        raise InvalidRequest("The parameter must be an object.", param="parameter")
    return parameter


def text(asked: Mapping[str, Any], name: str) -> str:
    """A text that is not empty."""
    value = asked.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidRequest(f"{name} must be a text.", param=name)
    return value


def positive(asked: Mapping[str, Any], name: str) -> float:
    """A number above zero."""
    value = asked.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e15:
        raise InvalidRequest(f"{name} must be a number above zero.", param=name)
    return value


def truth(asked: Mapping[str, Any], name: str) -> bool:
    """True or false."""
    value = asked.get(name)
    if not isinstance(value, bool):
        raise InvalidRequest(f"{name} must be true or false.", param=name)
    return value


def optional(asked: Mapping[str, Any], name: str, read: Callable[[Mapping[str, Any], str], T]) -> T | None:
    """A field that may be absent, or null."""
    return read(asked, name) if asked.get(name) is not None else None
