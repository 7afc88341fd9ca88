"""One inference request: its jobs are handed in, their events are told, and what is left is taken back at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lanhaven.engines.serving.answers import Answer, counts
from lanhaven.engines.serving.asks import Ask
from lanhaven.engines.serving.bad import BadRequest, too_long
from lanhaven.engines.serving.choice import Choice
from lanhaven.engines.serving.jobs import Computing, Event, Failed, Job, Progress, Token
from lanhaven.engines.serving.prompts import Prompts
from lanhaven.engines.serving.replies import DONE, Clock, Envelope, failure, usage
from lanhaven.engines.serving.speech import Marks
from lanhaven.engines.serving.text import Detokenizer, StopStrings


@dataclass(frozen=True, slots=True)
class Model:
    """What a reply needs of the loaded model.

    context: tokens of a prompt and its answer together.
    draw: makes what chooses the tokens, of (how, number of the answer, what holds it to a grammar or None).
    """

    alias: str
    context: int
    prompts: Prompts
    marks: Marks
    computing: Computing
    draw: Callable[[Choice, int, Any], Any]


class Reply:
    """Iterate `frames` for a stream, or await `whole`; then always `close`."""

    def __init__(self, model: Model, ask: Ask, prompts: Sequence[list[int]], state: str, sight: Any = None) -> None:
        """`sight`: of the prompt's pictures, see Job."""
        for prompt in prompts:
            if not prompt:
                raise BadRequest("the prompt is empty")
            if len(prompt) >= model.context:
                raise too_long(len(prompt), model.context)
        self._model = model
        self._ask = ask
        self._prompts = prompts
        self._sight = sight
        self._events: asyncio.Queue[tuple[Answer, Event]] = asyncio.Queue()
        self._envelope = Envelope(model.alias, ask.chat)
        self._clock = Clock()
        self._answers = [
            self._answer(index, prompts[index // ask.answers], state) for index in range(len(prompts) * ask.answers)
        ]
        for answer in self._answers:
            if answer.job is not None:
                model.computing.submit(answer.job)

    def _answer(self, index: int, prompt: list[int], state: str) -> Answer:
        model, ask = self._model, self._ask
        speech = model.marks.speech(ask.tools, state) if ask.chat else None
        answer = Answer(index, model.prompts, Detokenizer(model.prompts.decode, prompt), StopStrings(ask.stops), speech)
        room = model.context - len(prompt)
        answer.job = Job(
            prompt,
            room if ask.most is None else min(ask.most, room),
            lambda: self._make(index),
            lambda event: self._events.put_nowait((answer, event)),
            ask.top,
            self._sight,
        )
        return answer

    def _make(self, index: int) -> Any:
        ask = self._ask
        return self._model.draw(ask.choice, index % ask.answers, ask.bind() if ask.bind is not None else None)

    def close(self) -> None:
        """Take back what is not finished: its client has left, or wants no more."""
        for answer in self._answers:
            if answer.finish is None and answer.job is not None:
                self._model.computing.cancel(answer.job)

    async def _deltas(self) -> AsyncIterator[tuple[Answer, list[dict[str, Any]] | Progress]]:
        while any(answer.finish is None for answer in self._answers):
            answer, event = await self._events.get()
            match event:
                case Token() if answer.finish is None:
                    self._clock.tick()
                    deltas = answer.take(event)
                    if answer.stops.hit is not None and event.finish is None and answer.job is not None:
                        self._model.computing.cancel(answer.job)
                    yield answer, deltas
                case Progress():
                    yield answer, event
                case Failed():
                    raise BadRequest(event.message, 500)

    async def whole(self) -> dict[str, Any]:
        async for _ in self._deltas():
            pass
        told: dict[str, Any] = {"usage": usage(*self._counts()), "timings": self._timings()} | self._verbose()
        return self._envelope.whole([answer.whole() for answer in self._answers], **told)

    async def frames(self) -> AsyncIterator[bytes]:
        """Server-Sent Events. What fails now can only be said within the stream."""
        if self._ask.chat:
            for answer in self._answers:
                yield self._envelope.chunk([answer.first()])
        try:
            async for answer, told in self._deltas():
                if isinstance(told, Progress):
                    if self._ask.progress:
                        yield self._envelope.chunk([self._nothing(answer)], prompt_progress=self._progress(told))
                    continue
                for delta in told:
                    yield self._envelope.chunk([answer.choice(delta)])
                if answer.finish is not None:
                    yield self._envelope.chunk([answer.last()], **self._ending())
        except BadRequest as error:
            yield failure(error.message)
            return
        if self._ask.usage:
            yield self._envelope.chunk([], usage=usage(*self._counts()), timings=self._timings())
        yield DONE

    def _ending(self) -> dict[str, Any]:
        """With the last chunk of the last answer, unless a chunk for the usage follows."""
        over = all(answer.finish is not None for answer in self._answers)
        return self._verbose() | ({} if self._ask.usage or not over else {"timings": self._timings()})

    def _verbose(self) -> dict[str, Any]:
        return {"__verbose": {"stop_type": self._answers[0].stop_type}} if self._ask.verbose else {}

    def _nothing(self, answer: Answer) -> dict[str, Any]:
        return answer.first() if self._ask.chat else {"index": answer.index, "text": "", "finish_reason": None}

    def _progress(self, event: Progress) -> dict[str, Any]:
        passed = round((time.monotonic() - self._clock.began) * 1000)
        return {"total": event.total, "cache": event.cached, "processed": event.done, "time_ms": passed}

    def _counts(self) -> tuple[int, int, int]:
        return counts(self._answers, self._prompts)

    def _timings(self) -> dict[str, Any]:
        prompt, completion, cached = self._counts()
        guessed = sum(answer.job.guessed for answer in self._answers if answer.job is not None)
        told = {"draft_n_accepted": guessed} if guessed else {}
        return self._clock.timings(prompt, cached, completion) | told
