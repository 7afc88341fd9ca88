"""What the SDK raises: the classes of `lanhaven.errors`, the same that the server raised, and three of its own.

LanHavenError (GatewayError)        everything below
├── ConnectionFailed                no answer: not reachable, broken off, or not in time
├── StreamingFailed                 a stream that was cut off, fell silent, or cannot be read
├── UnsupportedVersion              LM Studio is too old for this
├── ValidationFailed (ClientError)  the request is at fault: InvalidRequest, ModelNotFound, Unauthorized ...
│   └── FeatureUnavailable (UnsupportedFeature)   nothing there can do this
├── CapacityError                   QueueFull, InsufficientMemory ...: later
└── ProviderError                   EngineCrashed, LoadFailed ...: an engine is at fault

`error.context` has the facts: endpoint, status, code, request_id, and errors (a list) where fields are wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from lanhaven import errors
from lanhaven.errors import GatewayError

LanHavenError = errors.GatewayError
ValidationFailed = errors.ClientError
FeatureUnavailable = errors.UnsupportedFeature


class ConnectionFailed(GatewayError):
    """The server did not answer: not reachable, the connection broke off, or a timeout. facts: endpoint, reason."""

    status = 503
    code = "connection_failed"


class StreamingFailed(GatewayError):
    """A stream ended before its end, fell silent, or holds what cannot be read. What had come stays valid."""

    status = 502
    code = "streaming_failed"


class UnsupportedVersion(GatewayError):
    """LM Studio is too old. facts: version, needed, feature."""

    status = 501
    code = "unsupported_version"


def _tree(root: type[GatewayError]) -> list[type[GatewayError]]:
    return [root, *(each for child in root.__subclasses__() for each in _tree(child))]


# `status` and `code` come from the class that says them itself: CapacityError and Overloaded share one code.
BY_CODE: Mapping[str, type[GatewayError]] = MappingProxyType(
    {each.code: each for each in _tree(GatewayError) if each.__module__ == errors.__name__}
)
BY_STATUS: Mapping[int, type[GatewayError]] = MappingProxyType(
    {
        400: errors.InvalidRequest,
        401: errors.Unauthorized,
        403: errors.Forbidden,
        404: errors.NotFound,
        405: errors.MethodNotAllowed,
        408: errors.Overloaded,
        409: errors.InstanceConflict,
        413: errors.PayloadTooLarge,
        415: errors.UnsupportedMediaType,
        422: errors.InvalidRequest,
        429: errors.QueueFull,
        500: errors.InternalError,
        501: errors.UnsupportedFeature,
        502: errors.UpstreamError,
        503: errors.Overloaded,
        504: errors.UpstreamTimeout,
        507: errors.StorageFull,
        508: errors.RequestLoop,
    }
)


def error_class(status: int, code: object) -> type[GatewayError]:
    """The class for a code; one that is not known is judged by the status."""
    if isinstance(code, str) and code in BY_CODE:
        return BY_CODE[code]
    if status in BY_STATUS:
        return BY_STATUS[status]
    return errors.ClientError if 400 <= status < 500 else errors.ProviderError
