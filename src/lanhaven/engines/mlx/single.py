"""One request after the other: what mlx-lm cannot batch. A quantized KV cache, a draft model, some architectures."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx_lm.generate import generate_step, speculative_generate_step

from lanhaven.engines.mlx.caches import new_cache
from lanhaven.engines.mlx.memory import PromptMemory
from lanhaven.engines.mlx.tokens import token_of
from lanhaven.engines.serving.jobs import Job, Progress
from lanhaven.engines.serving.mailbox import BREAKS, Mailbox


@dataclass(frozen=True, slots=True)
class Draft:
    """A small model that guesses `tokens` tokens ahead; the large one checks them in one step."""

    model: Any
    tokens: int


@dataclass(frozen=True, slots=True)
class Quantized:
    """Keys and values in `bits` bits from token `start` on."""

    bits: int
    group_size: int
    start: int


class Single:
    """Implements Computing."""

    def __init__(
        self,
        mailbox: Mailbox,
        model: Any,
        ends: frozenset[int],
        *,
        prompt_step: int,
        memory: PromptMemory,
        max_kv_size: int | None = None,
        draft: Draft | None = None,
        quantized: Quantized | None = None,
    ) -> None:
        self.submit = mailbox.submit
        self.cancel = mailbox.cancel
        self._mailbox = mailbox
        self._model = model
        self._ends = ends
        self._memory = memory
        self._draft = draft
        self._max_kv_size = max_kv_size
        self._options: dict[str, Any] = {"prefill_step_size": prompt_step}
        if quantized is not None:
            self._options |= {
                "kv_bits": quantized.bits,
                "kv_group_size": quantized.group_size,
                "quantized_kv_start": quantized.start,
            }
        self._waiting: deque[Job] = deque()
        self._current: Job | None = None
        self._left = False  # whoever wanted the current job's answer has gone

    def run(self) -> None:
        while True:
            self._look(wait=not self._waiting)
            if self._waiting:
                self._serve(self._waiting.popleft())

    def _look(self, *, wait: bool = False) -> None:
        for order, job in self._mailbox.orders(wait=wait):
            if order == "submit":
                self._waiting.append(job)
            elif job in self._waiting:
                self._waiting.remove(job)
            elif job is self._current:
                self._left = True

    def _serve(self, job: Job) -> None:
        self._current, self._left = job, False
        try:
            with contextlib.closing(self._steps(job)) as steps:
                self._tokens(job, steps)
        except BREAKS as error:
            self._mailbox.failed([job], error)
        finally:
            self._current = None

    def _tokens(self, job: Job, steps: Iterator[tuple[int, Any]]) -> None:
        for count, (token, logprobs) in enumerate(steps, 1):
            finish = "stop" if token in self._ends else "length" if count >= job.most else None
            self._mailbox.tell([(job, token_of(job, token, logprobs, finish))])
            self._look()
            if finish is not None or self._left:
                return

    def _steps(self, job: Job) -> Generator[tuple[int, Any], None, None]:
        """Tokens with their logprobs. What a grammar binds is not guessed ahead: a guess cannot be taken back there."""
        sampler, processors = job.make()
        cache, known = self._memory.recall(job.prompt) if self._draft is None else (None, 0)
        job.cached = known
        drafting = self._draft if not processors else None
        if cache is None:
            cache = new_cache(self._model, self._max_kv_size)
            cache += new_cache(drafting.model, None) if drafting is not None else []
        said = list(job.prompt)
        rest = mx.array(said[known:])
        shared: dict[str, Any] = {"max_tokens": job.most, "sampler": sampler, "prompt_cache": cache, **self._options}
        try:
            if drafting is not None:
                steps = speculative_generate_step(
                    rest, self._model, drafting.model, num_draft_tokens=drafting.tokens, **shared
                )
                for token, logprobs, _ in steps:
                    yield int(token), logprobs
            else:
                steps = generate_step(
                    rest,
                    self._model,
                    logits_processors=processors or None,
                    prompt_progress_callback=lambda done, total: self._progress(job, done, total),
                    **shared,
                )
                for token, logprobs in steps:
                    said.append(int(token))
                    yield int(token), logprobs
        finally:
            if self._draft is None:  # the cache has seen one token more than was told: it computes one step ahead
                self._memory.keep(said[: _length(cache, len(said))], cache)

    def _progress(self, job: Job, done: int, total: int) -> None:
        self._mailbox.tell([(job, Progress(done + job.cached, total + job.cached, job.cached))])


def _length(cache: list[Any], most: int) -> int:
    """Tokens that the cache holds, if it can tell; 0 makes it useless, and so it is not kept."""
    try:
        offset = int(cache[0].offset)
    except AttributeError:
        return 0
    return offset if offset <= most else 0
