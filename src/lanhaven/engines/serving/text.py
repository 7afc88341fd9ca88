"""From tokens to text: never half a character, nothing of a stop string, thoughts and tool calls told apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

LEFT_CONTEXT = 6  # tokens before the text: some tokenizers drop a space at the beginning of what they decode
UNFINISHED = "\ufffd"
LONGEST_CHARACTER = 8  # tokens after which what is still no character is told as what it is


class Detokenizer:
    """Gives the text that each token adds. Text that ends within a character waits for the rest of it."""

    def __init__(self, decode: Callable[[Sequence[int]], str], prompt: Sequence[int]) -> None:
        self._decode = decode
        self._tokens = list(prompt[-LEFT_CONTEXT:])
        self._known = decode(self._tokens) if self._tokens else ""
        self._waiting = 0

    def add(self, token: int) -> str:
        self._tokens.append(token)
        self._waiting += 1
        text = self._decode(self._tokens)
        if text.endswith(UNFINISHED) and self._waiting < LONGEST_CHARACTER:
            return ""
        added = text[len(self._known) :]
        self._tokens = self._tokens[-LEFT_CONTEXT:]
        self._known = self._decode(self._tokens)
        self._waiting = 0
        return added


class StopStrings:
    """Passes text on but for what may be the beginning of a stop string. `hit`: one came; there is no more text."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.hit: str | None = None

    def feed(self, text: str) -> str:
        if self.hit is not None:
            return ""
        self._held += text
        found = [(place, stop) for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if found:
            place, self.hit = min(found)
            return self._give(place)
        return self._give(len(self._held) - self._doubtful())

    def rest(self) -> str:
        """What was held back, now that no more comes."""
        return "" if self.hit is not None else self._give(len(self._held))

    def _doubtful(self) -> int:
        """The length of the longest end of the text that a stop string begins with."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stops):
                return length
        return 0

    def _give(self, length: int) -> str:
        given, self._held = self._held[:length], self._held[length:]
        return given


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of an answer. `state`: "normal", "reasoning", "tool"; `ended`: a tool call is complete with it."""

    state: str
    text: str
    ended: bool = False
