"""What is sent upstream: the request's body, an instance's defaults, the name that the upstream knows its model by."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from lanhaven.types.chat import InferenceRequest, Route
from lanhaven.types.models import Sampling, Upstream
from lanhaven.wire import encode

KEPT_HERE = frozenset({"context_overflow"})  # defaults that are no field of a request


def prepare(request: InferenceRequest, sampling: Sampling, upstream: Upstream) -> bytes:
    """The bytes to send: the instance's defaults where the request is silent (an explicit null is not silence)."""
    body = request.body
    if request.route in (Route.CHAT, Route.COMPLETION):
        for name, value in injections(sampling):
            if name not in body and not (name == "max_tokens" and "max_completion_tokens" in body):
                body[name] = value
        if body.get("stream") is True:
            options = body.get("stream_options")
            options = options if isinstance(options, dict) else {}
            if not request.stream:  # when it is sent once more, the wish that stands there is ours
                request.usage_wanted = request.usage_wanted or options.get("include_usage") is True
            request.stream = True
            body["stream_options"] = {**options, "include_usage": True}
    if request.extras is not None:
        body |= {name: value for name, value in request.extras.items() if name in upstream.extras}
    if request.form is not None:
        return request.form.before + upstream.model.encode() + request.form.after
    body["model"] = upstream.model
    return encode(body)


@lru_cache(maxsize=256)
def injections(sampling: Sampling) -> tuple[tuple[str, Any], ...]:
    """OpenAI body fields for an instance's defaults (S0-44): pairs of name and value."""
    said = sampling.said().items()
    return tuple((name, list(value) if name == "stop" else value) for name, value in said if name not in KEPT_HERE)
