"""One chat of /api/v1/chat, told as LM Studio's events; the whole answer is their fold. Of the world it asks the clock.

chat.start · model_load.start .progress .end (only where it had to load) · prompt_processing.start .progress .end ·
reasoning.start .delta .end · message.start .delta .end · error · chat.end, always last, with the whole answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lanhaven.dialects.chunks import Chunk, Delta
from lanhaven.dialects.lmstudio.rest.errors import error_object
from lanhaven.dialects.lmstudio.rest.stats import Measure
from lanhaven.errors import GatewayError
from lanhaven.upstream.reading import figure
from lanhaven.wire import encode, sse

Event = dict[str, Any]


@dataclass(slots=True)
class _Item:
    """A piece of output: a message, or reasoning."""

    kind: str
    parts: list[str] = field(default_factory=list)

    def whole(self) -> Event:
        return {"type": self.kind, "content": "".join(self.parts)}


@dataclass(slots=True)
class Telling:
    """The state of one chat. Its methods yield the events that what happened causes, in LM Studio's order."""

    instance_id: str | None = None
    measure: Measure | None = None
    load_seconds: float | None = None
    response_id: str | None = None
    ignored: list[str] = field(default_factory=list)
    _items: list[_Item] = field(default_factory=list)
    _open: _Item | None = None
    _loading: bool = False
    _load_progress: float = 0.0
    _prompt: float | None = None  # progress of the prompt while it is processed
    _started: bool = False

    @property
    def text(self) -> str:
        """The message, without reasoning."""
        return "".join("".join(each.parts) for each in self._items if each.kind == "message")

    # ---- Loading

    def load_begins(self, instance_id: str) -> Iterator[Event]:
        yield from self._start(instance_id)
        self._loading = True
        yield {"type": "model_load.start", "model_instance_id": instance_id}

    def load_goes_on(self, progress: float) -> Iterator[Event]:
        """Progress never falls; ends that are told twice are told once."""
        progress = min(progress, 1.0)
        if self._loading and progress > self._load_progress:
            self._load_progress = progress
            yield {"type": "model_load.progress", "model_instance_id": self.instance_id, "progress": progress}

    def load_ends(self, seconds: float) -> Iterator[Event]:
        self.load_seconds = seconds
        if self._loading:
            yield from self.load_goes_on(1.0)
            self._loading = False
            yield {
                "type": "model_load.end",
                "model_instance_id": self.instance_id,
                "load_time_seconds": round(seconds, 3),
            }

    # ---- The answer

    def answer_begins(self, instance_id: str | None, measure: Measure) -> Iterator[Event]:
        """The instance has the request."""
        self.measure = measure
        yield from self._start(instance_id)
        self.instance_id = instance_id or self.instance_id
        self._prompt = 0.0
        yield {"type": "prompt_processing.start"}

    def feed(self, chunk: Chunk) -> Iterator[Event]:
        if self.measure is not None:
            self.measure.note(chunk)
        if chunk.prompt_progress is not None:
            yield from self._prompt_goes_on(chunk.prompt_progress)
        for choice in chunk.choices:
            if choice.index == 0:
                yield from self._delta(choice.delta)

    def answer_ends(self) -> Iterator[Event]:
        """What is open is closed."""
        yield from self._prompt_ends()
        yield from self._close()

    def _start(self, instance_id: str | None) -> Iterator[Event]:
        if not self._started:
            self._started = True
            self.instance_id = instance_id
            yield {"type": "chat.start", "model_instance_id": instance_id}

    def _prompt_goes_on(self, told: dict[str, Any]) -> Iterator[Event]:
        total, processed = figure(told.get("total")), figure(told.get("processed"))
        if total and processed is not None and self._prompt is not None:
            progress = min(processed / total, 1.0)
            if progress > self._prompt:
                self._prompt = progress
                yield {"type": "prompt_processing.progress", "progress": progress}

    def _prompt_ends(self) -> Iterator[Event]:
        if self._prompt is not None:
            if 0.0 < self._prompt < 1.0:
                yield {"type": "prompt_processing.progress", "progress": 1.0}
            self._prompt = None
            yield {"type": "prompt_processing.end"}

    def _delta(self, delta: Delta) -> Iterator[Event]:
        for kind, text in (("reasoning", delta.thought), ("message", delta.content)):
            if text:
                yield from self._prompt_ends()
                yield from self._into(kind)
                self._items[-1].parts.append(text)
                yield {"type": f"{kind}.delta", "content": text}

    def _into(self, kind: str) -> Iterator[Event]:
        if self._open is None or self._open.kind != kind:
            yield from self._close()
            self._open = _Item(kind)
            self._items.append(self._open)
            yield {"type": f"{kind}.start"}

    def _close(self) -> Iterator[Event]:
        if self._open is not None:
            yield {"type": f"{self._open.kind}.end"}
            self._open = None

    # ---- The end

    def result(self) -> dict[str, Any]:
        """The whole answer; after an error, what there is of it."""
        result: dict[str, Any] = {
            "model_instance_id": self.instance_id,
            "output": [each.whole() for each in self._items],
            "stats": self._stats(),
        }
        if self.response_id is not None:
            result["response_id"] = self.response_id
        if self.ignored:
            result["ignored"] = sorted(set(self.ignored))
        return result

    def ends(self) -> Event:
        return {"type": "chat.end", "result": self.result()}

    def fails(self, error: GatewayError) -> Iterator[Event]:
        """What is open is closed, then the error, then the end."""
        if self._prompt is not None:
            self._prompt = None
            yield {"type": "prompt_processing.end"}
        yield from self._close()
        yield {"type": "error", "error": error_object(error)}
        yield self.ends()

    def _stats(self) -> dict[str, Any]:
        measure = self.measure
        stats: dict[str, Any] = {
            "input_tokens": measure.prompt_tokens if measure else 0,
            "total_output_tokens": measure.tokens if measure else 0,
            "reasoning_output_tokens": measure.reasoning_tokens if measure else 0,
            "tokens_per_second": round(measure.tokens_per_second, 3) if measure else 0.0,
            "time_to_first_token_seconds": round(measure.first_token_seconds or 0.0, 4) if measure else 0.0,
        }
        return stats if self.load_seconds is None else stats | {"model_load_time_seconds": round(self.load_seconds, 3)}


def frame(event: Event) -> bytes:
    """The event as it is sent: its name is its type."""
    return sse(encode(event), event["type"])
