"""The answer of a job as it grows: upstream chunks in, `chunk` events out, and the whole of it for `completed`."""

from __future__ import annotations

from typing import Any

from lanhaven.dialects.chunks import Chunk, Delta, ToolCallDelta, read_whole
from lanhaven.dialects.jobs.record import Job
from lanhaven.errors import UpstreamError
from lanhaven.types.chat import Dropped, Outcome

PIECE = 40  # characters of one event at most (S3-x4)
LONGEST = 16 << 20  # bytes of a job's events: what one job may take of this server's memory


class Answer:
    """Of the first choice; a job has one. `begun`: readers have been told some of it."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._content: list[str] = []
        self._thought: list[str] = []
        self._calls: dict[int, dict[str, Any]] = {}
        self.dropped: Dropped | None = None  # what of the prompt was left out
        self._thinking = 0  # tokens spent on thoughts, where the upstream counts them
        self._finish: str | None = None  # as the chunks say: where tools are told in words, the upstream says "stop"

    @property
    def begun(self) -> bool:
        return bool(self._content or self._thought or self._calls)

    def take(self, chunk: Chunk) -> None:
        """UpstreamError once the answer is longer than a job may be."""
        for choice in chunk.choices:
            if choice.index == 0:
                self._grow(choice.delta)
                self._finish = choice.finish_reason or self._finish
        details = (chunk.usage or {}).get("completion_tokens_details")
        count = details.get("reasoning_tokens") if isinstance(details, dict) else None
        self._thinking = count if isinstance(count, int) else self._thinking

    def take_whole(self, body: bytes) -> None:
        """A completion that came in one piece."""
        self.take(read_whole(body))

    def _grow(self, delta: Delta) -> None:
        if delta.thought:
            self._thought.append(delta.thought)
            for piece in pieces(delta.thought):
                self._job.publish("chunk", {"content": "", "reasoning_content": piece})
        if delta.content:
            self._content.append(delta.content)
            for piece in pieces(delta.content):
                self._job.publish("chunk", {"content": piece})
        for each in delta.tool_calls or ():
            self._call(each)
        if self._job.size > LONGEST:
            raise UpstreamError(f"The answer is longer than a job may be ({LONGEST >> 20} MiB of events).", retry=False)

    def _call(self, delta: ToolCallDelta) -> None:
        call = self._calls.setdefault(
            delta.index, {"id": None, "type": "function", "function": {"name": "", "arguments": ""}}
        )
        call["id"] = call["id"] or delta.id
        if delta.function is not None:
            call["function"]["name"] += delta.function.name or ""
            call["function"]["arguments"] += delta.function.arguments or ""

    def payload(self, outcome: Outcome) -> dict[str, Any]:
        """Of `completed`: content, usage, finish_reason; reasoning_content, tool_calls, dropped where there are any."""
        usage = outcome.usage
        whole: dict[str, Any] = {
            "content": "".join(self._content),
            "usage": {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "total_tokens": usage.total_tokens,
                "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
                "completion_tokens_details": {"reasoning_tokens": self._thinking},
            },
            "finish_reason": self._finish or outcome.finish_reason,
        }
        if self.dropped is not None:
            whole["dropped"] = {"messages": self.dropped.messages, "tokens": self.dropped.tokens}
        if self._thought:
            whole["reasoning_content"] = "".join(self._thought)
        if self._calls:
            whole["tool_calls"] = [self._calls[index] for index in sorted(self._calls)]
        return whole


def pieces(text: str) -> list[str]:
    """Of at most PIECE characters; joined they are the text."""
    return [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
