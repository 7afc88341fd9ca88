"""What is told of a request: numbers and switches, never somebody's text."""

from __future__ import annotations

from typing import Any

import pytest

from lanhaven.media.slots import find
from lanhaven.parameters import Parameters, parameters

IMAGE = {"type": "image_url", "image_url": {"url": "data:,x"}}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"temperature": 0.5, "stream": True, "seed": 7}, {"temperature": 0.5, "stream": True, "seed": 7}),
        ({"temperature": "my password", "max_tokens": None, "seed": 10**40, "top_p": float("nan")}, {}),
        ({"model": "x", "user": "me", "prompt": "text", "n_ctx": 5, "secret": 1}, {}),
        ({"tools": [{}, {}], "stop": ["a"], "input": ["x", "y"]}, {"tools": 2, "stops": 1, "inputs": 2}),
        ({"tool_choice": "auto", "reasoning_effort": "low"}, {"tool_choice": "auto", "reasoning_effort": "low"}),
        ({"tool_choice": "call my mother", "reasoning_effort": {"a": 1}}, {}),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, {"response_format": "json_schema"}),
        ({"response_format": {"type": "a text"}}, {}),
        ({"response_format": {"type": ["x"]}}, {}),
        ({"messages": [{"content": [IMAGE, {"type": "text"}, IMAGE]}, {}, 5]}, {"messages": 3, "images": 2}),
        ({"messages": "hello", "tools": "none"}, {}),
    ],
)
def test_only_numbers_and_switches_are_told(body: dict[str, Any], told: Parameters) -> None:
    assert parameters(body, len(find(body))) == told
