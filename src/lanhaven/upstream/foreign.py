"""Errors as upstreams word them, in our words: the one place that translates.

| the upstream says | the client gets |
|---|---|
| the prompt does not fit, in anybody's wording | ContextLengthExceeded with both numbers |
| 400, 422, other 4xx | InvalidRequest, the upstream's message and field |
| 401, 403 | UpstreamError: our key for it is wrong, not the client's |
| 404 about the model | ProviderUnavailable, facts {"gone": True}: the instance is lost there |
| 404, 405 about the route; 501 | UnsupportedFeature |
| 408, 504 | UpstreamTimeout |
| 413 | PayloadTooLarge |
| 429 | QueueFull with its Retry-After |
| 508 | RequestLoop |
| 503, 409, 425 | ProviderUnavailable with a Retry-After: it is loading, or busy |
| 500 for what is the client's fault (see CLIENTS_FAULT) | InvalidRequest |
| 3xx, other 5xx | UpstreamError |

Messages are kept, as programs match on them, but for keys, addresses and paths of model files. HTML is never kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lanhaven.errors import (
    ContextLengthExceeded,
    GatewayError,
    InvalidRequest,
    PayloadTooLarge,
    ProviderUnavailable,
    QueueFull,
    RequestLoop,
    UnsupportedFeature,
    UpstreamError,
    UpstreamTimeout,
)
from lanhaven.upstream.reading import loads

MESSAGE_CHARS = 1000
RETRY_AFTER = 1.0  # when the upstream says no number

_OVERFLOW_CODES = frozenset({"exceed_context_size_error", "context_length_exceeded"})
_OVERFLOW = (  # groups: n_prompt (may be absent), n_ctx (may be absent)
    re.compile(r"request \((?P<prompt>\d+) tokens\) exceeds the available context size \((?P<ctx>\d+) tokens\)"),
    re.compile(  # the answer's limit is in the sum, not in the prompt
        r"maximum context length is (?P<ctx>\d+) tokens.*?\((?P<prompt>\d+) (?:in|from) (?:the|your) \w+", re.DOTALL
    ),
    re.compile(
        r"maximum context length is (?P<ctx>\d+) tokens.*?(?:requested|resulted in|has) (?P<prompt>\d+)", re.DOTALL
    ),
    re.compile(r"input \((?P<prompt>\d+) tokens\) is too large to process.*?batch size: (?P<ctx>\d+)", re.DOTALL),
    re.compile(
        r"keep the first (?P<prompt>\d+) tokens when context the overflows.*?only (?P<ctx>\d+) tokens", re.DOTALL
    ),
    re.compile(r"input (?:length )?exceeds the context length|input \(\d+ tokens\) is too large to process"),
)
# Wordings with which engines answer 500 although the request is at fault.
CLIENTS_FAULT = re.compile(
    r"(image|audio|video) input is not supported"
    r"|Failed to load image or audio"
    r"|Failed to parse messages|Unknown reasoning format"
    r"|(does not|not) support (chat|completions?|embeddings?|rerank)"
    r"|does not support logits computation",
    re.IGNORECASE,
)
_ABOUT_MODEL = re.compile(r"model", re.IGNORECASE)
_TYPES = {  # error types of frames that come without a status
    "invalid_request_error": 400,
    "BadRequestError": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "not_supported_error": 501,
    "unavailable_error": 503,
    "overloaded_error": 503,
}
_MODEL_FILE = re.compile(r"(?:[A-Za-z]:)?(?:[\\/][^\s\\/'\"]+)*[\\/]([^\s\\/'\"]+\.(?:gguf|safetensors|bin))")
_ADDRESS = re.compile(
    r"(?:https?://)?(?:localhost|\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:]{2,}\])(?::\d+)?(?:/[^\s'\"]*)?"
)
_KEY = re.compile(r"\b(?:sk|hf|gsk|xai)[-_][A-Za-z0-9_\-*.]{8,}|\bBearer +\S+")
_STATUS = re.compile(r"[45][0-9]{2}")
_COUNT = re.compile(r"[0-9]{1,18}")  # a longer one is a joke: int() takes seconds for it, or refuses it
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Foreign:
    """An error body, read."""

    message: str = ""
    kind: str = ""  # its "type"
    code: object = None
    param: str | None = None
    body: Mapping[str, Any] | None = None


def from_reply(status: int, headers: Mapping[bytes, bytes], body: bytes, model: str) -> GatewayError:
    """The error that a reply of this status means. `body` may be cut short, HTML or empty."""
    return _translate(status, parse(body), model, _retry_after(headers))


def from_frame(data: bytes, model: str) -> GatewayError:
    """The error that a frame of a stream, or a 200 reply with an error object in it, means."""
    foreign = parse(data)
    return _translate(_status_of(foreign), foreign, model, None)


def parse(body: bytes) -> Foreign:
    """Read any of the known envelopes, or a bare line of text."""
    value = loads(body)
    if isinstance(value, dict):
        inner = value.get("error", value)
        if isinstance(inner, dict):
            return Foreign(
                _clean(inner.get("message") or inner.get("msg") or _detail(inner.get("detail"))),
                _text(inner.get("type")),
                inner.get("code"),
                inner["param"] if isinstance(inner.get("param"), str) else None,
                inner,
            )
        return Foreign(_clean(inner))
    if isinstance(value, str):
        return Foreign(_clean(value))
    text = body[:MESSAGE_CHARS].decode("utf-8", "replace").strip()
    structure = value is not None or text == "null" or text.startswith(("<", "{", "["))  # a page, or JSON cut short
    return Foreign("" if structure else _clean(text))


def _detail(value: object) -> object:
    """FastAPI's `detail`: a text, or a list of {"loc", "msg"}."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        place = value[0].get("loc")
        where = ".".join(str(each) for each in place if each != "body") if isinstance(place, list) else ""
        return f"{where}: {value[0].get('msg')}" if where else value[0].get("msg")
    return value


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _clean(value: object) -> str:
    text = _text(value)[: 2 * MESSAGE_CHARS]
    if "<html" in text[:200].lower() or "<!doctype" in text[:200].lower():
        return ""
    text = _MODEL_FILE.sub(r"\1", _KEY.sub("<key>", _CONTROL.sub(" ", text)))
    return _ADDRESS.sub("<address>", text)[:MESSAGE_CHARS].strip()


def _status_of(foreign: Foreign) -> int:
    code = foreign.code
    if isinstance(code, str) and _STATUS.fullmatch(code):
        return int(code)
    if isinstance(code, int) and 400 <= code < 600:
        return code
    if "Unexpected endpoint or method" in foreign.message:  # LM Studio answers unknown routes with 200
        return 404
    return _TYPES.get(foreign.kind) or _TYPES.get(_text(foreign.code)) or 500


def _retry_after(headers: Mapping[bytes, bytes]) -> float | None:
    """Seconds; dates are not believed, as clocks of a LAN's machines differ."""
    value = headers.get(b"retry-after", b"").strip()
    return min(float(value), 3600.0) if value.isdigit() and len(value) < 10 else None


def _translate(status: int, foreign: Foreign, model: str, retry_after: float | None) -> GatewayError:
    overflow = _overflow(foreign)
    if overflow is not None and status not in (401, 403, 429):
        return overflow
    said = foreign.message
    match status:
        case 401 | 403:
            return UpstreamError("The model's server refused our key for it.", retry=False, hint=_KEY_HINT)
        case 404 | 405:
            return _missing(foreign, model)
        case 408 | 504:
            return UpstreamTimeout(said or "The model's server took too long.", retry=False)
        case 413:
            return PayloadTooLarge(said or "The model's server finds the request too large.", retry=False)
        case 429:
            spent = "quota" in said.lower() or foreign.code == "insufficient_quota"
            text = said or "The model's server has too many requests."
            return QueueFull(text, retry_after=retry_after or RETRY_AFTER, retry=False if spent else None)
        case 409 | 425 | 503:
            return ProviderUnavailable(
                said or "The model's server is not ready.", retry_after=retry_after or RETRY_AFTER
            )
        case 508:
            return RequestLoop(said or "The model's server finds the request going in a circle.", retry=False)
        case 501:
            return UnsupportedFeature(said or "The model's server cannot do this.", retry=False)
        case _ if 400 <= status < 500 or CLIENTS_FAULT.search(said):
            text = said or f"The model's server refused the request with status {status}."
            return InvalidRequest(text, param=foreign.param, retry=False)
        case _:
            told = said.rstrip(".") if status >= 400 else ""
            return UpstreamError(f"The model's server failed: {told or f'status {status}'}.", facts={"status": status})


_KEY_HINT = "Check `api_key` of this model or provider in the configuration."


def _missing(foreign: Foreign, model: str) -> GatewayError:
    """404: either the model is gone there, or the route never was."""
    named = (foreign.message, foreign.kind, _text(foreign.code))
    if any(_ABOUT_MODEL.search(each) for each in named):
        return ProviderUnavailable(
            f"The model's server does not have model {model!r} (any more).",
            hint="Load it again, or correct the name under which that server knows it.",
            retry_after=RETRY_AFTER,
            facts={"gone": True},
        )
    return UnsupportedFeature("The model's server does not offer this kind of request.", retry=False)


def _overflow(foreign: Foreign) -> ContextLengthExceeded | None:
    found = next((match for each in _OVERFLOW if (match := each.search(foreign.message))), None)
    known = foreign.kind in _OVERFLOW_CODES or foreign.code == "context_length_exceeded"
    if found is None and not known:
        return None
    groups = found.groupdict() if found is not None else {}
    body = foreign.body or {}
    prompt, context = body.get("n_prompt_tokens", groups.get("prompt")), body.get("n_ctx", groups.get("ctx"))
    facts = {name: int(value) for name, value in (("n_prompt_tokens", prompt), ("n_ctx", context)) if _is_count(value)}
    return ContextLengthExceeded(
        foreign.message or "The prompt is longer than the model's context.",
        param=foreign.param or "messages",
        hint="shorten the prompt, or load the model with more context",
        retry=False,
        facts=facts,
    )


def _is_count(value: object) -> bool:
    return (isinstance(value, int) and value >= 0) or (isinstance(value, str) and _COUNT.fullmatch(value) is not None)
