"""Errors of LM Studio's REST API: {"type", "message", "code", "param"?}. Types are its own few; codes are ours."""

from __future__ import annotations

from typing import Any

from lanhaven.errors import ClientError, GatewayError, ModelNotFound, UnsupportedFeature


def error_object(error: GatewayError) -> dict[str, Any]:
    """What stands under "error". Facts `type` and `code` of the error are more exact than its class."""
    body: dict[str, Any] = {
        "type": error.facts.get("type") or _type(error),
        "message": error.told(),
        "code": error.facts.get("code") or error.code,
    }
    return body if error.param is None else body | {"param": error.param}


def _type(error: GatewayError) -> str:
    match error:
        case ModelNotFound():
            return "model_not_found"
        case UnsupportedFeature():
            return "not_implemented"
        case ClientError():
            return "invalid_request"
        case _:
            return "internal_error"
