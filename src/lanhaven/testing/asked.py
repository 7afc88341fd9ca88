"""A request as it reached a mock model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lanhaven.engines.connection import Seen
from lanhaven.engines.scripted_answers import last_user_text


@dataclass(frozen=True, slots=True)
class Asked:
    """In OpenAI's words, whatever API the client used: LanHaven translates. `left`: the client went away early."""

    path: str
    body: Mapping[str, Any]
    left: bool

    @classmethod
    def of(cls, seen: Seen) -> Asked:
        """A snapshot."""
        return cls(seen.path, seen.body if isinstance(seen.body, dict) else {}, seen.left)

    @property
    def model(self) -> str:
        """The model key."""
        return str(self.body.get("model", ""))

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        """Of a chat; else none."""
        messages: Sequence[Mapping[str, Any]] = self.body.get("messages", ())
        return messages

    @property
    def text(self) -> str:
        """The last user message, the prompt, or what was to be embedded."""
        given = self.body.get("input")
        if given is None:
            return last_user_text(self.body)
        return given if isinstance(given, str) else " ".join(map(str, given))
