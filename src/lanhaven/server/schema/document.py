"""The OpenAPI document of the whole server: FastAPI's of the native routes, completed, and all families beside it."""

from __future__ import annotations

import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from lanhaven.server.schema import native
from lanhaven.server.schema.families import family_paths, family_schemas, joined

DESCRIPTION = (
    "Every path of `openai` and `responses` is served without /v1 as well. A `GET` answers `HEAD` too. Where the "
    "server has keys, send one as `Authorization: Bearer KEY` or `X-API-Key: KEY`."
)
# Docstrings name the rows of the requirements that they fulfil; nobody outside knows those.
ROWS = re.compile(r" \((?:S\d-x?|C)\d[^)]*\)")
SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def operation_name(route: APIRoute) -> str:
    """What generated clients call the operation: admin_load, debug_status."""
    tag = route.tags[0] if route.tags else "native"
    return f"{tag}_{route.name}"


def document(app: FastAPI) -> dict[str, Any]:
    """OpenAPI 3.1 of `app` and of all routes beside it."""
    found = get_openapi(title="LanHaven", version=app.version, description=DESCRIPTION, routes=app.routes)
    for operations in found["paths"].values():
        for operation in operations.values():
            native.complete(operation)
            _forget_rows(operation)
    found["paths"] = joined(family_paths(), found["paths"])
    schemas = {
        name: schema
        for name, schema in found["components"]["schemas"].items()
        if name not in ("HTTPValidationError", "ValidationError")
    }
    for schema in schemas.values():
        _forget_rows(schema)
    found["components"]["schemas"] = joined(joined(family_schemas(), native.SCHEMAS), schemas)
    found["components"]["securitySchemes"] = SECURITY
    found["security"] = [{}, *({name: []} for name in SECURITY)]
    return found


def _forget_rows(described: dict[str, Any]) -> None:
    if "description" in described:
        described["description"] = ROWS.sub("", described["description"])
