"""The steps of one text by mlx-lm: with a draft model or a quantized KV cache, which its batches do not have."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx_lm.generate import generate_step, speculative_generate_step

from lanhaven.engines.mlx.caches import Quantized, length_of, new_cache
from lanhaven.engines.mlx.memory import PromptMemory
from lanhaven.engines.serving.jobs import Job, Progress
from lanhaven.engines.serving.mailbox import Mailbox


@dataclass(frozen=True, slots=True)
class Draft:
    """A small model that guesses `tokens` tokens ahead; the large one checks them in one step."""

    model: Any
    tokens: int


class TextSteps:
    """Implements Steps."""

    def __init__(
        self,
        mailbox: Mailbox,
        model: Any,
        *,
        prompt_step: int,
        memory: PromptMemory,
        max_kv_size: int | None = None,
        draft: Draft | None = None,
        quantized: Quantized | None = None,
    ) -> None:
        self._mailbox = mailbox
        self._model = model
        self._memory = memory
        self._draft = draft
        self._max_kv_size = max_kv_size
        self._options: dict[str, Any] = {"prefill_step_size": prompt_step}
        self._options |= quantized.options() if quantized is not None else {}

    def __call__(self, job: Job) -> Generator[tuple[int, Any], None, None]:
        """What a grammar binds is not guessed ahead: a guess cannot be taken back there."""
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
                for token, logprobs, guessed in steps:
                    job.guessed += guessed
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
                self._memory.keep(said[: length_of(cache, len(said))], cache)

    def _progress(self, job: Job, done: int, total: int) -> None:
        self._mailbox.tell([(job, Progress(done + job.cached, total + job.cached, job.cached))])
