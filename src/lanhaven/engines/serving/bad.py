"""What is wrong with a request, in the form in which llama.cpp's server says it: the gateway reads both alike."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_KINDS: Mapping[int, str] = MappingProxyType(
    {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 500: "server_error"}
    | {501: "not_supported_error", 503: "unavailable_error"}
)


class BadRequest(Exception):
    """A reply that is an error."""

    def __init__(self, message: str, status: int = 400, **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.facts = facts

    def body(self) -> dict[str, Any]:
        error = {"code": self.status, "message": self.message, "type": _KINDS.get(self.status, "server_error")}
        return {"error": error | self.facts}


def too_long(tokens: int, context: int) -> BadRequest:
    """The prompt does not fit, in llama.cpp's words."""
    return BadRequest(
        f"request ({tokens} tokens) exceeds the available context size ({context} tokens), try increasing it",
        type="exceed_context_size_error",
        n_prompt_tokens=tokens,
        n_ctx=context,
    )
