"""How a client of some dialect listens: what each file `as_*.py` here is written as."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import anthropic
import ollama
import openai

from tests.lossless.said import TOOLS, Told
from tests.serving import House

QUESTION = [{"role": "user", "content": "Well?"}]
SCHEMA = {"type": "object", "properties": {}}
FUNCTIONS = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in TOOLS]


class Clients:
    """The official libraries, all talking to one house, without retries of their own."""

    def __init__(
        self,
        house: House,
        first: openai.AsyncOpenAI,
        second: openai.AsyncOpenAI,
        third: anthropic.AsyncAnthropic,
        fourth: ollama.AsyncClient,
    ) -> None:
        self.house = house
        self.openai = first
        self.openai_v0 = second
        self.anthropic = third
        self.ollama = fourth

    def __repr__(self) -> str:
        return "Clients()"  # Hypothesis shows the arguments of an example that fails


@dataclass
class Wire:
    """One stream as it came: what it told, how often it said that it is over well, how often that it failed, and
    whether anything came behind the first such word."""

    told: Told
    status: int = 200
    successes: int = 0
    failures: int = 0
    talks_on: bool = False

    def ended(self, *, well: bool) -> None:
        """A word that ends the stream."""
        self.talks_on = self.talks_on or self.over
        self.successes += well
        self.failures += not well

    @property
    def over(self) -> bool:
        return self.successes + self.failures > 0


class Listener(Protocol):
    """One route of one dialect. chat: of the upstream's two routes. passes: its whole answers are asked for whole."""

    name: str
    chat: bool = True
    passes: bool = False

    def expected(self, said: Told) -> Told:
        """What this dialect tells of it: None for what it has no words for, and its own word for the stop."""
        ...

    def ask(self, *, stream: bool) -> tuple[str, dict[str, Any]]:
        """Path and body."""
        ...

    def read(self, data: bytes, wire: Wire) -> None:
        """The body of a stream."""
        ...

    def whole(self, body: dict[str, Any]) -> Told:
        """A whole answer."""
        ...

    async def library(self, clients: Clients) -> Told | None:
        """The stream, read by the official library; None if that raised its error."""
        ...

    async def stream(self, house: House) -> Wire:
        """Ask for a stream and read it to its end."""
        path, body = self.ask(stream=True)
        reply = await house.http.post(path, json=body)
        wire = Wire(Told(), reply.status_code)
        if reply.status_code == 200:
            self.read(reply.content, wire)
        else:
            wire.failures += 1
        return wire

    async def fold(self, house: House) -> Told | None:
        """Ask for a whole answer; None if that failed, in a body that says why."""
        path, body = self.ask(stream=False)
        reply = await house.http.post(path, json=body)
        if reply.status_code == 200:
            return self.whole(reply.json())
        assert reply.status_code >= 400
        assert reply.json()["error"]
        return None

    async def open(self, house: House, *, stream: bool) -> None:
        """Ask, and listen for as long as one is let."""
        path, body = self.ask(stream=stream)
        await house.http.post(path, json=body)


def sse(data: bytes) -> Iterator[tuple[str, str]]:
    """Name and data of each event, as the standard says: lines end at LF (CR, CRLF) and nowhere else. No comments."""
    assert data.endswith(b"\n\n")
    for frame in data.decode().split("\n\n"):
        lines = [line for line in frame.split("\n") if line and not line.startswith(":")]
        names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
        texts = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        if texts:
            yield names[-1] if names else "message", "\n".join(texts)


def take(told: Told, name: str, value: Any) -> None:
    """Add to a text of what was told."""
    setattr(told, name, (vars(told)[name] or "") + (value or ""))


def grow(calls: dict[int, list[str]], index: int, name: str | None, text: str | None) -> None:
    """Add a piece to a call: its name, its arguments."""
    call = calls.setdefault(index, ["", ""])
    call[0] += name or ""
    call[1] += text or ""


def finished(calls: Mapping[int, list[str]]) -> list[tuple[str, Any]]:
    """The calls, in order; their arguments must be JSON."""
    return [(name, json.loads(text or "{}")) for name, text in calls.values()]
