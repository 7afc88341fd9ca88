"""The native routes (/admin, /debug, /health ...) as one FastAPI application, and how they word errors."""

from __future__ import annotations

from functools import cache
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from lanhaven import __version__
from lanhaven.config.published import published
from lanhaven.dialects.base import retry_headers
from lanhaven.errors import GatewayError, ModelNotFound
from lanhaven.server.access import SCHEMAS
from lanhaven.server.admin import admin_router, native_error, not_found
from lanhaven.server.callers import Callers
from lanhaven.server.connect import connect_router
from lanhaven.server.debug import debug_router
from lanhaven.server.docs_page import CSP, page
from lanhaven.server.history import history_router
from lanhaven.server.info import info_router
from lanhaven.server.keys import keys_router
from lanhaven.server.lan_routes import lan_router
from lanhaven.server.log_routes import logs_router
from lanhaven.server.models_file import models_file_router
from lanhaven.server.redoc_page import add_redoc
from lanhaven.server.residents import residents_router
from lanhaven.server.schema.document import document, operation_name
from lanhaven.server.services import Services
from lanhaven.server.sign_in import sign_in_router

# Zod's word for pydantic's kind of failure: clients of the first gateway parse these (S0-74).
ZOD = {
    "missing": "invalid_type",
    "extra_forbidden": "unrecognized_keys",
    "greater_than": "too_small",
    "greater_than_equal": "too_small",
    "string_too_short": "too_small",
    "less_than": "too_big",
    "less_than_equal": "too_big",
    "string_too_long": "too_big",
    "too_long": "too_big",
    "json_invalid": "invalid_json",
}
EXPECTED = {
    "string": "string", "int": "number", "float": "number", "bool": "boolean", "list": "array", "dict": "object",
    "model": "object",
}  # fmt: skip


def native_app(services: Services, callers: Callers) -> FastAPI:
    """Routes, documentation and error bodies of the native API."""
    app = FastAPI(version=__version__, openapi_url=None, generate_unique_id_function=operation_name)
    for router in (
        admin_router(services),
        models_file_router(services),
        connect_router(services),
        residents_router(services),
        debug_router(services, callers),
        history_router(services),
        logs_router(services, callers),
        info_router(services),
        sign_in_router(callers),
        keys_router(callers),
        lan_router(services),
    ):
        app.include_router(router)
    _add_documentation(app)
    _add_schemas(app)
    add_redoc(app)
    app.add_route("/ai/lmstudio/demo", _playground, ["GET"], include_in_schema=False)
    app.add_exception_handler(GatewayError, _gateway_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    return app


def _add_documentation(app: FastAPI) -> None:
    """/openapi.json and /docs. Written when first asked for: it takes longer than any other page."""
    described = cache(document)

    async def openapi(request: Request) -> JSONResponse:
        return JSONResponse({**described(app), "servers": [{"url": address(request)}]})

    async def docs(request: Request) -> HTMLResponse:
        text = page(described(app), address(request))
        return HTMLResponse(text, headers={"content-security-policy": CSP})

    app.add_api_route("/openapi.json", openapi, include_in_schema=False)
    app.add_api_route("/docs", docs, include_in_schema=False)


def _add_schemas(app: FastAPI) -> None:
    """The schemas of models.yaml and config.yaml, for editors."""

    async def schema(request: Request) -> Response:
        name = request.url.path.rpartition("/")[2].removesuffix(".json")
        return Response(published(name), media_type="application/schema+json")

    for path in sorted(SCHEMAS):
        app.add_route(path, schema, ["GET"], include_in_schema=False)


async def _playground(request: Request) -> Response:
    """Where models are tried now (S3-40)."""
    return RedirectResponse("/#/playground", headers={"cache-control": "no-cache"})


def address(request: Request) -> str:
    """How the reader reached this server: http://HOST:PORT."""
    return str(request.base_url).rstrip("/")


async def _gateway_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, GatewayError):
        raise error
    headers = {name.decode(): value.decode() for name, value in retry_headers(error)}
    return JSONResponse(error_json(error), error.status, headers)


def error_json(error: GatewayError) -> dict[str, Any]:
    """The native body of an error; a missing model has the form of S0-75."""
    if isinstance(error, ModelNotFound):
        key = error.facts.get("model_key")
        name = key if isinstance(key, str) else error.message.removeprefix("Model not found: ").split(" (instance")[0]
        return not_found(name, None, error.hint) | {"message": error.message, "error": error.message}
    return native_error(error)


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    return JSONResponse({"error": "Validation failed", "details": [_issue(each) for each in error.errors()]}, 400)


def _issue(error: Any) -> dict[str, Any]:
    kind = str(error["type"])
    given = error.get("input")
    path = [each for each in error["loc"] if each != "body"]
    return {
        "code": ZOD.get(kind, "invalid_type" if kind.endswith("_type") else "custom"),
        "expected": EXPECTED.get(kind.removesuffix("_type").split("_")[0], "string" if kind == "missing" else kind),
        "received": "undefined" if kind == "missing" else _received(given),
        "path": path,
        "message": "Required" if kind == "missing" else error["msg"],
    }


def _received(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    text = "Not found" if error.status_code == 404 else str(error.detail)
    if error.status_code >= 500:
        structlog.get_logger().error("http_error", path=request.url.path, status=error.status_code)
    return JSONResponse({"error": text, "code": "not_found" if error.status_code == 404 else "http_error"},
                        error.status_code, error.headers)  # fmt: skip
