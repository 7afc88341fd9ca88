"""The values of load keys: what each may be, read into what LanHaven has for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from lanhaven.errors import InvalidRequest

# (value, key) -> what it means; None = as if it were not said. InvalidRequest names the key.
Reader = Callable[[Any, str], Any]

_RATIO_WORDS: Mapping[str, float] = MappingProxyType({"max": 1.0, "off": 0.0})


def checked(value: Any) -> dict[str, Any]:
    """A checkbox that is on."""
    return {"checked": True, "value": value}


def table(value: Any, place: str) -> Mapping[str, Any]:
    """A JSON object. InvalidRequest names the place of what is none."""
    if not isinstance(value, dict):
        raise InvalidRequest(f"{place} must be an object.", param=place)
    return value


def rows(value: Any, place: str) -> Sequence[Any]:
    """A JSON array; null is an empty one. InvalidRequest names the place of what is none."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InvalidRequest(f"{place} must be a list.", param=place)
    return value


def _wrong(key: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"{key} {problem}.", param=key)


def _checkbox(inner: Reader) -> Reader:
    def read(value: Any, key: str) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("checked"), bool):
            raise _wrong(key, 'must look like {"checked": true, "value": ...}')
        return inner(value.get("value"), key) if value["checked"] else None

    return read


def _count(least: int) -> Reader:
    def read(value: Any, key: str) -> int:
        whole = isinstance(value, float) and value.is_integer()  # JavaScript knows no difference
        if isinstance(value, bool) or not (isinstance(value, int) or whole) or not least <= value < 1 << 31:
            raise _wrong(key, f"must be a whole number from {least}")
        return int(value)

    return read


def _number(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise _wrong(key, "must be a number from 0")
    return float(value)


def _ratio(value: Any, key: str) -> float:
    if isinstance(value, str) and value in _RATIO_WORDS:
        return _RATIO_WORDS[value]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise _wrong(key, 'must be a number from 0 to 1, "max" or "off"')
    return float(value)


def _truth(value: Any, key: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(key, "must be true or false")
    return value


def _kv_type(value: Any, key: str) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= 16:
        raise _wrong(key, "must name a type of numbers, like f16 or q8_0")
    return value


# By the field of LoadConfig that a key means.
READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "context_length": _count(1),
        "gpu_ratio": _ratio,
        "cpu_threads": _count(1),
        "rope_frequency_base": _checkbox(_number),
        "rope_frequency_scale": _checkbox(_number),
        "slots": _count(1),
        "flash_attention": _truth,
        "kv_type": _checkbox(_kv_type),
    }
)
