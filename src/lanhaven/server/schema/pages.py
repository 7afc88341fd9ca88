"""What is made for people: pages and their files, and the document itself."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lanhaven.server.schema.parts import ANY, TEXT, Schema, json_of

SCHEMAS: Mapping[str, Schema] = MappingProxyType({})

HTML, PLAIN, SCRIPT, JSON = "text/html", "text/plain", "text/javascript", "application/json"
SCHEMA = "application/schema+json"
PAGES = (
    ("/", "banner", "The dashboard for a browser (`Accept: text/html`); else that the server runs", PLAIN),
    ("/docs", "docs", "This document as a page", HTML),
    ("/redoc", "redoc", "This document in Redoc", HTML),
    ("/redoc/redoc.standalone.js", "redoc_script", "A file of that page", SCRIPT),
    ("/openapi.json", "openapi", "This document", JSON),
    ("/schema/models.json", "models_schema", "The JSON schema of models.yaml", SCHEMA),
    ("/schema/config.json", "config_schema", "The JSON schema of config.yaml", SCHEMA),
)


def paths() -> dict[str, Any]:
    """Path -> operations."""
    demo = {"tags": ["pages"], "summary": "To the dashboard's playground", "operationId": "demo"}
    moved = {"307": {"description": "It is at `/#/playground`."}}
    pages = {path: {"get": _page(name, summary, kind)} for path, name, summary, kind in PAGES}
    return {**pages, "/ai/lmstudio/demo": {"get": {**demo, "responses": moved}}}


def _page(name: str, summary: str, kind: str) -> Schema:
    content = {kind: {"schema": ANY if kind in (JSON, SCHEMA) else TEXT}}
    error = {"description": "An error.", "content": json_of("NativeError")}
    replies = {"200": {"description": "The page.", "content": content}, "default": error}
    return {"tags": ["pages"], "summary": summary, "operationId": name, "responses": replies}
