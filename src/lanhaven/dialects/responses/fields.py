"""How fields of a Responses body are read: what is wrong is said with the path of the field, in OpenAI's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lanhaven.errors import InvalidRequest, UnsupportedFeature


def wrong(where: str, why: str) -> InvalidRequest:
    """The field at `where` (tools[0].name) cannot be served."""
    return InvalidRequest(f"Invalid '{where}': {why}.", param=where, retry=False)


def unserved(where: str, what: str, hint: str | None = None) -> UnsupportedFeature:
    """Nothing here can do what the field at `where` asks for."""
    return UnsupportedFeature(f"'{where}': {what}.", param=where, hint=hint, retry=False)


def text_in(value: Mapping[str, Any], name: str, where: str = "", *, empty: bool = False) -> str:
    """The string `name`; `where`: path of the object that holds it. `empty`: it may be."""
    path = f"{where}.{name}" if where else name
    text = value.get(name)
    if text is None:
        raise InvalidRequest(f"Missing required parameter: '{path}'.", param=path, retry=False)
    if not isinstance(text, str) or not (text or empty):
        raise wrong(path, "must be a string" if empty else "must be a string that is not empty")
    return text


def list_in(value: Mapping[str, Any], name: str, where: str = "") -> list[dict[str, Any]]:
    """The list of objects `name`; none if it is absent or null."""
    path = f"{where}.{name}" if where else name
    listed = value.get(name)
    if listed is None:
        return []
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise wrong(path, "must be a list of objects")
    return listed


def object_in(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object `name`; an empty one if it is absent or null."""
    found = value.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise wrong(name, "must be an object")
    return found


def flag_in(value: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """The boolean `name`; `default` if it is absent or null."""
    found = value.get(name)
    if found is None:
        return default
    if not isinstance(found, bool):
        raise wrong(name, "must be true or false")
    return found
