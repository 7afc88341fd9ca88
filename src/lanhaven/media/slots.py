"""Where the images of a chat body are. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of one image in a body: `holder[key]` is its source. place: its path, for errors."""

    holder: dict[str, Any]
    key: str
    place: str

    @property
    def source(self) -> Any:
        return self.holder[self.key]

    def fill(self, uri: str) -> None:
        """Put the image there, as a data URI."""
        self.holder[self.key] = uri


def find(body: Mapping[str, Any]) -> list[Slot]:
    """Every image of the messages, in order. A message of plain text costs a look-up and nothing else."""
    messages = body.get("messages")
    found: list[Slot] = []
    if not isinstance(messages, list):
        return found
    for at, message in enumerate(messages):
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            for index, part in enumerate(content):
                if isinstance(part, dict) and "image_url" in part:
                    found.append(_slot(part, f"messages[{at}].content[{index}].image_url"))
    return found


def _slot(part: dict[str, Any], place: str) -> Slot:
    """OpenAI's `{"url": ...}`, or the bare text that some clients send."""
    inner = part["image_url"]
    return Slot(inner, "url", place) if isinstance(inner, dict) and "url" in inner else Slot(part, "image_url", place)
