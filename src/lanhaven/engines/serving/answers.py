"""One answer of a reply: takes the events of its job, gives OpenAI's deltas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lanhaven.engines.serving.jobs import Job, Token
from lanhaven.engines.serving.prompts import Prompts
from lanhaven.engines.serving.replies import logprobs
from lanhaven.engines.serving.speech import Speech
from lanhaven.engines.serving.text import Detokenizer, StopStrings

_STOP_TYPES = {"stop": "eos", "word": "word", "length": "limit"}


@dataclass(slots=True)
class Answer:
    """`speech` None: a text completion, in which nothing is told apart. `finish`: why it ended; None: it goes on."""

    index: int
    prompts: Prompts
    detokenizer: Detokenizer
    stops: StopStrings
    speech: Speech | None
    job: Job | None = None
    tokens: int = 0
    finish: str | None = None
    stop_type: str = "none"
    text: str = ""
    reasoning: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)  # logprobs of all tokens
    _untold: list[dict[str, Any]] = field(default_factory=list)  # logprobs of tokens whose text is held back

    def take(self, token: Token) -> list[dict[str, Any]]:
        """Deltas that this token gives; `finish` is set with the last of them."""
        self.tokens += 1
        end = token.finish
        given = "" if end == "stop" else self.detokenizer.add(token.token)
        if token.logprob is not None and end != "stop":
            self._untold.append(self._entry(token))
        deltas = self._said(self.stops.feed(given))
        if self.stops.hit is not None:
            end = "word"
        if end is not None:
            deltas += self._said(self.stops.rest()) + (self.speech.end() if self.speech is not None else [])
            self.stop_type = _STOP_TYPES[end]
            self.finish = "length" if end == "length" else "stop"
            if self.finish == "stop" and self.speech is not None and self.speech.calls:
                self.finish = "tool_calls"
        for delta in deltas:
            self._keep(delta)
        return deltas

    def _said(self, text: str) -> list[dict[str, Any]]:
        if self.speech is None:
            return [{"content": text}] if text else []
        return self.speech.feed(text) if text else []

    def _keep(self, delta: dict[str, Any]) -> None:
        self.text += delta.get("content", "")
        self.reasoning += delta.get("reasoning_content", "")
        self.calls += [
            {name: value for name, value in call.items() if name != "index"} for call in delta.get("tool_calls", ())
        ]

    def _entry(self, token: Token) -> dict[str, Any]:
        told = self._named(token.token, token.logprob or 0.0)
        return told | {"top_logprobs": [self._named(each, value) for each, value in token.top]}

    def _named(self, token: int, logprob: float) -> dict[str, Any]:
        text = self.prompts.token_text(token)
        return {"id": token, "token": text, "bytes": list(text.encode("utf-8", "replace")), "logprob": logprob}

    # ---- as OpenAI writes them

    def first(self) -> dict[str, Any]:
        return {"index": self.index, "delta": {"role": "assistant", "content": None}, "finish_reason": None}

    def choice(self, delta: dict[str, Any]) -> dict[str, Any]:
        """A choice of a chunk, with the logprobs that came since the last one."""
        told: dict[str, Any] = {"index": self.index, "finish_reason": None}
        told |= {"delta": delta} if self.speech is not None else {"text": delta.get("content", "")}
        return told | self._logprobs()

    def last(self) -> dict[str, Any]:
        return self.choice({}) | {"finish_reason": self.finish}

    def _logprobs(self) -> dict[str, Any]:
        told, self._untold = self._untold, []
        self.entries += told
        return {"logprobs": logprobs(told)} if told else {}

    def whole(self) -> dict[str, Any]:
        self._logprobs()
        told: dict[str, Any] = {"index": self.index, "finish_reason": self.finish, "logprobs": logprobs(self.entries)}
        if self.speech is None:
            return told | {"text": self.text}
        message: dict[str, Any] = {"role": "assistant", "content": self.text or (None if self.calls else "")}
        message |= {"reasoning_content": self.reasoning} if self.reasoning else {}
        message |= {"tool_calls": self.calls} if self.calls else {}
        return told | {"message": message}


def counts(answers: Sequence[Answer], prompts: Sequence[Sequence[int]]) -> tuple[int, int, int]:
    """Tokens of the prompts (each counted once, however many answers it got), of the answers, and remembered ones."""
    seen: dict[int, int] = {}
    for answer in answers:
        if answer.job is not None:
            seen.setdefault(id(answer.job.prompt), answer.job.cached)
    return sum(map(len, prompts)), sum(answer.tokens for answer in answers), sum(seen.values())
