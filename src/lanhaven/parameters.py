"""What of a request may be told and kept: numbers and switches. Never a text that somebody wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
FORMATS = ("text", "json_object", "json_schema")
COUNTED = {"messages": "messages", "tools": "tools", "input": "inputs", "documents": "documents", "stop": "stops"}
LARGEST = 1e15  # a larger number is a text in disguise


def parameters(body: Mapping[str, Any], images: int) -> Parameters:
    """temperature, max_tokens, stream ... as they are; how many messages, tools and images there are."""
    told: Parameters = {"images": images} if images else {}
    for name, value in body.items():
        if name in NUMBERS:
            if isinstance(value, (int, float)) and -LARGEST < value < LARGEST:
                told[name] = value
        elif name in COUNTED:
            if isinstance(value, list):
                told[COUNTED[name]] = len(value)
        elif name in WORDS:
            if isinstance(value, str) and value in WORDS[name]:
                told[name] = value
        elif name == "response_format" and isinstance(value, dict) and value.get("type") in FORMATS:
            told[name] = str(value["type"])
    return told
