"""What an answer took, as LM Studio tells it: from llama.cpp's own timings, else by this server's clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lanhaven.dialects.chunks import Chunk
from lanhaven.gateway import Gateway
from lanhaven.inference import Inference
from lanhaven.upstream.reading import figure

CONTEXT_REACHED, LIMIT_REACHED = "contextLengthReached", "maxPredictedTokensReached"


@dataclass(slots=True)
class Measure:
    """Notes the chunks of one answer as they come (or its whole reply, once). Seconds on the gateway's clock."""

    gateway: Gateway
    inference: Inference
    first: float | None = None  # when the first piece of the answer came
    thoughts: int = 0  # chunks of reasoning: llama.cpp sends one a token
    timings: Mapping[str, Any] | None = None
    usage: Mapping[str, Any] | None = None
    finish: str | None = None
    stop_type: str | None = None  # "eos", "word" or "limit", where llama.cpp was asked for it

    def note(self, chunk: Chunk) -> None:
        """A chunk of a stream."""
        for choice in chunk.choices:
            if self.first is None and (choice.text or choice.delta.content or choice.delta.thought):
                self.first = self.gateway.clock()
            self.thoughts += bool(choice.delta.thought)
            if choice.index == 0:
                self.finish = choice.finish_reason or self.finish
        self._keep(chunk.timings, chunk.usage, chunk.verbose)

    def note_whole(self, reply: Mapping[str, Any]) -> None:
        """A reply that did not stream."""
        choices = reply.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            self.finish = choices[0].get("finish_reason")
        tables = (reply.get(name) for name in ("timings", "usage", "__verbose"))
        self._keep(*(each if isinstance(each, dict) else None for each in tables))

    def _keep(
        self, timings: Mapping[str, Any] | None, usage: Mapping[str, Any] | None, verbose: Mapping[str, Any] | None
    ) -> None:
        self.timings = timings or self.timings
        self.usage = usage or self.usage
        if verbose is not None and isinstance(verbose.get("stop_type"), str):
            self.stop_type = verbose["stop_type"]

    @property
    def tokens(self) -> int:
        """That were generated."""
        return self.inference.outcome.usage.completion_tokens

    @property
    def prompt_tokens(self) -> int:
        return self.inference.outcome.usage.prompt_tokens

    @property
    def reasoning_tokens(self) -> int:
        """As the upstream counts them, else the pieces of reasoning that came."""
        details = (self.usage or {}).get("completion_tokens_details")
        told = details.get("reasoning_tokens") if isinstance(details, dict) else None
        return told if isinstance(told, int) and told > 0 else min(self.thoughts, self.tokens)

    @property
    def first_token_seconds(self) -> float | None:
        """From the request's departure to the first piece; of a reply that did not stream, the engine's own figure."""
        if self.first is not None and self.inference.timing.leased is not None:
            return self.first - self.inference.timing.leased
        return self._milliseconds("prompt_ms")

    @property
    def generation_seconds(self) -> float:
        """From the first piece to now, which should be the end."""
        told = self._milliseconds("predicted_ms")
        if told is not None:
            return told
        timing = self.inference.timing
        return self.gateway.clock() - (self.first or timing.leased or timing.accepted)

    @property
    def tokens_per_second(self) -> float:
        seconds = self.generation_seconds
        return self.tokens / seconds if seconds > 0 else 0.0

    @property
    def stop_reason(self) -> str:
        """In the SDK's words."""
        match self.finish:
            case "length":
                return LIMIT_REACHED if self._at_limit() else CONTEXT_REACHED
            case "tool_calls" | "function_call":
                return "toolCalls"
            case "stop":
                return "stopStringFound" if self.stop_type == "word" else "eosFound"
            case _:
                return "failed"

    def _at_limit(self) -> bool:
        body = self.inference.request.body
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        return isinstance(limit, int) and self.tokens >= limit

    def _milliseconds(self, name: str) -> float | None:
        told = figure((self.timings or {}).get(name))
        return None if told is None else told / 1000
