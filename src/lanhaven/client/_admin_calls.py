"""The calls behind keys, history and models.yaml. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lanhaven.client._protocol import Call, Repeat, name_in_path
from lanhaven.client._settings import ClientSettings
from lanhaven.client._shape import plain

KEYS = "/admin/keys"
HISTORY = "/debug/history"


def key_path(name: str) -> str:
    """Where a key is changed."""
    return f"{KEYS}/{name_in_path(name)}"


def request_path(request_id: str) -> str:
    """Where a request is told of."""
    return f"/debug/requests/{name_in_path(request_id)}"


def said(**fields: str | float | None) -> dict[str, str]:
    """A query of what is not None."""
    return {name: str(value) for name, value in fields.items() if value is not None}


def post(path: str, body: Mapping[str, Any], settings: ClientSettings, feature: str) -> Call:
    """Something that changes something: it is sent again only if it surely did not begin."""
    return Call("POST", path, plain(body), timeout=settings.timeout, repeat=Repeat.ONCE, feature=feature)


def patch(path: str, body: Mapping[str, Any], settings: ClientSettings) -> Call:
    """A change that is the same when it is made twice."""
    return Call("PATCH", path, plain(body), timeout=settings.timeout, repeat=Repeat.ANY)


def delete(path: str, settings: ClientSettings, *, force: bool) -> Call:
    """Done twice, the second one finds nothing."""
    query = {"force": "true"} if force else {}
    return Call("DELETE", path, query=query, timeout=settings.timeout, repeat=Repeat.ONCE)


def add_model(body: Mapping[str, Any], settings: ClientSettings) -> Call:
    """POST /admin/models/add. None = not said."""
    given = {name: value for name, value in body.items() if value is not None}
    return post("/admin/models/add", given, settings, "model management")


def edit_model(model: str, changes: Mapping[str, Any], default: bool | None, settings: ClientSettings) -> Call:
    """POST /admin/models/edit."""
    body = {"modelKey": model, "changes": changes} | ({} if default is None else {"default": default})
    return post("/admin/models/edit", body, settings, "model management")


def remove_model(model: str, settings: ClientSettings) -> Call:
    """POST /admin/models/remove."""
    return post("/admin/models/remove", {"modelKey": model}, settings, "model management")
