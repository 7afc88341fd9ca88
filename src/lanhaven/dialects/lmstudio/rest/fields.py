"""Fields of LM Studio's REST bodies, read one by one; InvalidRequest names the one at fault. A null is not said."""

from __future__ import annotations

from typing import Any

from lanhaven.errors import InvalidRequest

MISSING = "missing_required_parameter"
LONGEST_NAME = 1024


def required(body: dict[str, Any], name: str) -> str:
    """A text that must be there."""
    value = text(body, name)
    if not value:
        raise InvalidRequest(f"{name} is required.", param=name, retry=False, facts={"code": MISSING})
    if len(value) > LONGEST_NAME:
        raise InvalidRequest(f"{name} is too long.", param=name, retry=False)
    return value


def text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(f"{name} must be a string.", param=name, retry=False)
    return value


def flag(body: dict[str, Any], name: str) -> bool | None:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidRequest(f"{name} must be true or false.", param=name, retry=False)
    return value


def whole(body: dict[str, Any], name: str, most: int = 1 << 24) -> int | None:
    """A whole number from 1."""
    value = body.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= most):
        raise InvalidRequest(f"{name} must be a whole number from 1 to {most}.", param=name, retry=False)
    return value
