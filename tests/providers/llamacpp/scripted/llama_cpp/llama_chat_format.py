"""Templates: the scripted one writes each message as a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass
class Formatted:
    prompt: str


class Jinja2ChatFormatter:
    def __init__(self, template: str, eos_token: str, bos_token: str) -> None:
        self.add_generation_prompt = True

    def __call__(self, *, messages: Sequence[Any], tools: Any = None, **_: Any) -> Formatted:
        if messages[0]["role"] == "tool":
            raise ValueError("tool messages come later")
        lines = "".join(f"{each['role']}: {each['content']}\n" for each in messages)
        return Formatted(lines + ("assistant: " if self.add_generation_prompt else ""))
