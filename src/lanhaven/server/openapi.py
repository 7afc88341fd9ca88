"""The OpenAPI document of the whole server: FastAPI's of the native routes, corrected, and the inference routes."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from lanhaven.server.inference_schema import SCHEMAS, inference_paths
from lanhaven.server.translated_schema import translated_paths

DESCRIPTION = (
    "Every path under /v1 is served without /v1 as well. Where the server has keys, send one as "
    "`Authorization: Bearer KEY` or `X-API-Key: KEY`."
)
SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
TEXT = {"type": "string"}
NATIVE_ERROR = {
    "type": "object",
    "properties": {"error": TEXT, "code": TEXT, "hint": TEXT},
    "required": ["error"],
    "additionalProperties": True,
}
ISSUE = {
    "type": "object",
    "properties": {
        "code": TEXT,
        "expected": TEXT,
        "received": TEXT,
        "path": {"type": "array", "items": {"anyOf": [TEXT, {"type": "integer"}]}},
        "message": TEXT,
    },
    "required": ["code", "path", "message"],
}
VALIDATION_FAILED = {
    "type": "object",
    "properties": {"error": TEXT, "details": {"type": "array", "items": {"$ref": "#/components/schemas/Issue"}}},
    "required": ["error", "details"],
}


def operation_name(route: APIRoute) -> str:
    """What generated clients call the operation: admin_load, debug_status."""
    tag = route.tags[0] if route.tags else "native"
    return f"{tag}_{route.name}"


def document(app: FastAPI) -> dict[str, Any]:
    """OpenAPI 3.1 of `app` and of the inference routes beside it."""
    found = get_openapi(title="LanHaven", version=app.version, description=DESCRIPTION, routes=app.routes)
    operations = [operation for path in found["paths"].values() for operation in path.values()]
    for operation in operations:
        _tell_errors(operation["responses"])
    found["paths"] = inference_paths() | translated_paths() | found["paths"]
    schemas = found["components"]["schemas"]
    for fastapis in ("HTTPValidationError", "ValidationError"):
        schemas.pop(fastapis, None)
    schemas |= {**SCHEMAS, "NativeError": NATIVE_ERROR, "Issue": ISSUE, "ValidationFailed": VALIDATION_FAILED}
    found["components"]["securitySchemes"] = SECURITY
    found["security"] = [{}, *({name: []} for name in SECURITY)]
    return found


def _tell_errors(responses: dict[str, Any]) -> None:
    """FastAPI promises a 422 where native.py answers 400 with other fields (S0-74)."""
    if responses.pop("422", None) is not None:
        responses["400"] = _reply("A field is missing or wrong.", "ValidationFailed")
    for status, reply in responses.items():
        if status >= "400" and "content" not in reply:
            responses[status] = _reply(reply["description"], "NativeError")
    responses["default"] = _reply("See errors.", "NativeError")


def _reply(description: str, schema: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": description, "content": content}
