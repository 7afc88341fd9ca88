"""What of a request may be told and kept: numbers and switches. Never a text that somebody wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lanhaven.types.chat import InferenceRequest

Parameters = dict[str, float | bool | str]

NUMBERS = frozenset(
    {"temperature", "top_p", "top_k", "min_p", "max_tokens", "max_completion_tokens", "n", "best_of", "seed"}
    | {"presence_penalty", "frequency_penalty", "repeat_penalty", "stream", "logprobs", "top_logprobs", "dimensions"}
    | {"parallel_tool_calls", "store", "echo", "top_n"}
)
# Fields whose values are words of the API; anything else in them is somebody's text.
WORDS: Mapping[str, frozenset[str]] = {
    "tool_choice": frozenset({"auto", "none", "required"}),
    "reasoning_effort": frozenset({"none", "minimal", "low", "medium", "high", "xhigh"}),
    "encoding_format": frozenset({"float", "base64"}),
}
FORMATS = frozenset({"text", "json_object", "json_schema"})
COUNTED = {"messages": "messages", "tools": "tools", "input": "inputs", "documents": "documents", "stop": "stops"}
LARGEST = 1e15  # a larger number is a text in disguise


def parameters(request: InferenceRequest) -> Parameters:
    """temperature, max_tokens, stream ... as they are; how many messages, tools and images there are."""
    told: Parameters = {}
    for name, value in request.body.items():
        match value:
            case bool() | int() | float():
                if name in NUMBERS and -LARGEST < value < LARGEST:
                    told[name] = value
            case list():
                if name in COUNTED:
                    told[COUNTED[name]] = len(value)
            case str():
                if name in WORDS and value in WORDS[name]:
                    told[name] = value
            case {"type": kind} if name == "response_format" and kind in FORMATS:
                told[name] = str(kind)
            case _:
                pass
    images = _images(request.body.get("messages"))
    return told | {"images": images} if images else told


def _images(messages: Any) -> int:
    return sum(map(_is_image, _parts(messages))) if isinstance(messages, list) else 0


def _parts(messages: Iterable[Any]) -> Iterable[Any]:
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            yield from content


def _is_image(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "image_url"
