"""The one error tree.

GatewayError
├── ClientError                 the request is at fault; sending it again unchanged cannot help
│   ├── InvalidRequest          400 invalid_request
│   ├── InvalidModelFile        400 invalid_model_file
│   ├── NoActiveModel           400 no_active_model
│   ├── ContextLengthExceeded   400 context_length_exceeded
│   ├── Unauthorized            401 invalid_api_key
│   ├── Forbidden               403 forbidden
│   ├── NotFound                404 not_found
│   │   └── ModelNotFound       404 model_not_found
│   ├── MethodNotAllowed        405 method_not_allowed
│   ├── InstanceConflict        409 instance_conflict
│   ├── PayloadTooLarge         413 payload_too_large
│   ├── UnsupportedMediaType    415 unsupported_media_type
│   └── UnsupportedFeature      501 capability_unavailable
├── CapacityError               right request, wrong moment: retry later
│   ├── QueueFull               429 queue_full
│   ├── RateLimited             429 rate_limit_exceeded
│   ├── QueueTimeout            503 queue_timeout
│   ├── InsufficientMemory      503 insufficient_memory
│   ├── Overloaded              503 overloaded
│   ├── ModelUnloaded           503 model_unloaded
│   ├── ServerShutdown          503 server_shutdown
│   └── StorageFull             507 storage_full
├── ProviderError               an engine or an upstream is at fault
│   ├── ProviderUnavailable     503 upstream_unreachable
│   ├── LoadFailed              500 load_failed
│   ├── EngineCrashed           502 engine_crashed
│   ├── EngineHung              504 engine_hung
│   ├── TemplateError           502 template_error
│   ├── UpstreamError           502 engine_protocol_error
│   ├── UpstreamTimeout         504 upstream_timeout
│   └── RequestLoop             508 request_loop
└── InternalError               500 internal_error: a defect of LanHaven itself

Raisers know nothing of HTTP bodies: they give facts (a sentence, the field, numbers, the next step); each dialect
encodes an error its own way. `status` and `code` are hints for those encoders, stable and documented in docs/errors.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

SENTENCE_ENDS = (".", "!", "?", ":")


class GatewayError(Exception):
    """Root of the tree.

    message: one sentence for a person, without secrets, prompts, addresses of engines or paths of model files.
    param: the request field at fault, if one is.
    hint: what to do next, e.g. a command ("lanhaven load x --context 8192").
    retry_after: seconds after which the same request may succeed; None says nothing about it.
    retry: whether a client library should repeat the request by itself (sent as x-should-retry); None leaves it to it.
    facts: machine-readable details (numbers, ids) that an encoder may add to the body.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        hint: str | None = None,
        retry_after: float | None = None,
        retry: bool | None = None,
        facts: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.hint = hint
        self.retry_after = retry_after
        self.retry = retry
        self.facts: Mapping[str, object] = facts or {}

    @property
    def context(self) -> Mapping[str, Any]:
        """All that is known besides the message, for a log; from a server also endpoint, request_id, errors."""
        said: dict[str, Any] = {"code": self.code, "status": self.status, "param": self.param, "hint": self.hint}
        return {name: value for name, value in said.items() if value is not None} | dict(self.facts)

    def told(self, words: str | None = None) -> str:
        """What happened (`words`, or the message) and what to try, for replies that have one text for both."""
        said = self.message if words is None else words
        if self.hint is None:
            return said
        return f"{said}{'' if said.endswith(SENTENCE_ENDS) else '.'} Try: {self.hint}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.status} {self.code}: {self.message})"


class ClientError(GatewayError):
    """The request is at fault."""

    status = 400
    code = "invalid_request"


class InvalidRequest(ClientError):
    """A body, field or header that cannot be served; `param` names the field."""


class InvalidModelFile(ClientError):
    """A model file that is damaged, hostile, of another format, or not a regular file: facts hold reason, one fixed
    word."""

    code = "invalid_model_file"


class NoActiveModel(ClientError):
    """The request names no model, and none is active."""

    code = "no_active_model"


class ContextLengthExceeded(ClientError):
    """The prompt does not fit: facts hold n_prompt_tokens and n_ctx. Never repeated by itself."""

    code = "context_length_exceeded"


class Unauthorized(ClientError):
    """No key, or a wrong one."""

    status = 401
    code = "invalid_api_key"


class Forbidden(ClientError):
    """The address, the Host or the key's scope does not allow this."""

    status = 403
    code = "forbidden"


class NotFound(ClientError):
    """No such route or thing."""

    status = 404
    code = "not_found"


class ModelNotFound(NotFound):
    """No such model or instance, or one that this key may not see (the same words for both)."""

    code = "model_not_found"


class MethodNotAllowed(ClientError):
    """The path exists, the method does not."""

    status = 405
    code = "method_not_allowed"


class InstanceConflict(ClientError):
    """An instance with this identifier exists already."""

    status = 409
    code = "instance_conflict"


class PayloadTooLarge(ClientError):
    """The body is over the limit."""

    status = 413
    code = "payload_too_large"


class UnsupportedMediaType(ClientError):
    """The Content-Type or Content-Encoding is not served here."""

    status = 415
    code = "unsupported_media_type"


class UnsupportedFeature(ClientError):
    """Nothing that is configured here can do this."""

    status = 501
    code = "capability_unavailable"


class CapacityError(GatewayError):
    """Right request, wrong moment."""

    status = 503
    code = "overloaded"


class QueueFull(CapacityError):
    """The queue of this instance is full."""

    status = 429
    code = "queue_full"


class RateLimited(CapacityError):
    """The key has asked for as much as it may within a minute, or a day: facts hold limit and unit."""

    status = 429
    code = "rate_limit_exceeded"


class QueueTimeout(CapacityError):
    """The request waited as long as it may."""

    code = "queue_timeout"


class InsufficientMemory(CapacityError):
    """The model does not fit: facts hold needed_bytes and available_bytes."""

    code = "insufficient_memory"


class Overloaded(CapacityError):
    """The server sheds load."""


class ModelUnloaded(CapacityError):
    """The instance was unloaded under the request on an operator's order."""

    code = "model_unloaded"


class ServerShutdown(CapacityError):
    """The server is going down."""

    code = "server_shutdown"


class StorageFull(CapacityError):
    """The disk is full; the file that was to be written is as it was."""

    status = 507
    code = "storage_full"


class ProviderError(GatewayError):
    """An engine or an upstream is at fault."""

    status = 502
    code = "engine_protocol_error"


class ProviderUnavailable(ProviderError):
    """The provider cannot be reached, or does not run on this machine."""

    status = 503
    code = "upstream_unreachable"


class LoadFailed(ProviderError):
    """The engine refused the model; the message carries its reason."""

    status = 500
    code = "load_failed"


class EngineCrashed(ProviderError):
    """The engine's process ended while it was needed."""

    code = "engine_crashed"


class EngineHung(ProviderError):
    """The engine's process lives but does not answer."""

    status = 504
    code = "engine_hung"


class TemplateError(ProviderError):
    """The model's chat template does not come to an end, or takes too much memory, or broke the engine."""

    code = "template_error"


class UpstreamError(ProviderError):
    """The upstream broke the protocol, or answered with an error of its own."""


class UpstreamTimeout(ProviderError):
    """The upstream was silent for too long."""

    status = 504
    code = "upstream_timeout"


class RequestLoop(ProviderError):
    """Servers that send requests on to each other: this one was here before."""

    status = 508
    code = "request_loop"


class InternalError(GatewayError):
    """A defect of LanHaven itself; the log has the trace under the request id."""
