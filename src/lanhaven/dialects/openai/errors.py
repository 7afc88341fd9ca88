"""OpenAI's error envelope: of its own dialect, and of the others that speak like it."""

from __future__ import annotations

from lanhaven.errors import (
    CapacityError,
    ClientError,
    Forbidden,
    GatewayError,
    QueueFull,
    RateLimited,
    Unauthorized,
    UnsupportedFeature,
)
from lanhaven.wire import encode


def error_body(error: GatewayError) -> bytes:
    """{"error": {"message", "type", "param", "code", ...facts}}"""
    kind = error_type(error)
    return encode(
        {"error": {"message": error.told(), "type": kind, "param": error.param, "code": error.code, **error.facts}}
    )


def error_type(error: GatewayError) -> str:
    """The `type` that OpenAI gives an error of this kind."""
    match error:
        case Unauthorized():
            return "authentication_error"
        case Forbidden():
            return "permission_error"
        case QueueFull() | RateLimited():
            return "rate_limit_error"
        case UnsupportedFeature():
            return "not_implemented_error"
        case ClientError():
            return "invalid_request_error"
        case CapacityError():
            return "overloaded_error"
        case _:
            return "api_error"
