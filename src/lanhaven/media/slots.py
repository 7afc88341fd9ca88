"""Where the images of a chat body are. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of one image in a body: `holder[key]` is its source. place: its path, for errors. new: it stands behind
    the last answer; the others came with earlier turns, which a client sends again and again."""

    holder: dict[str, Any]
    key: str
    place: str
    new: bool

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
    answered: int | None = None
    if not isinstance(messages, list):
        return found
    for at, message in enumerate(messages):
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            for index, part in enumerate(content):
                if isinstance(part, dict) and "image_url" in part:
                    answered = _last_answer(messages) if answered is None else answered
                    found.append(_slot(part, f"messages[{at}].content[{index}].image_url", at > answered))
    return found


def _last_answer(messages: list[Any]) -> int:
    """Where it stands, -1 if there is none. The last message is none: the model goes on with it."""
    for at in range(len(messages) - 2, -1, -1):
        if isinstance(messages[at], dict) and messages[at].get("role") == "assistant":
            return at
    return -1


def _slot(part: dict[str, Any], place: str, new: bool) -> Slot:
    """OpenAI's `{"url": ...}`, or the bare text that some clients send."""
    inner = part["image_url"]
    holder, key = (inner, "url") if isinstance(inner, dict) and "url" in inner else (part, "image_url")
    return Slot(holder, key, place, new)
