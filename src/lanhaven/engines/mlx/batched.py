"""Several requests at once: mlx-lm's BatchGenerator, fed and emptied between two steps (continuous batching)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlx_lm.generate import BatchGenerator

from lanhaven.engines.mlx.caches import new_cache
from lanhaven.engines.mlx.memory import PromptMemory
from lanhaven.engines.mlx.tokens import token_of
from lanhaven.engines.serving.jobs import Event, Job, Progress
from lanhaven.engines.serving.mailbox import BREAKS, Mailbox

PREFILL = 8  # prompts that are processed together, at most
# Seconds that an idle engine waits for the next one: requests that are sent together are computed together from their
# prompts on. A step of the smallest models takes longer.
GATHER = 0.003


class Batched:
    """Implements Computing. `max_kv_size`: tokens a rotating cache keeps; None = all."""

    def __init__(
        self,
        mailbox: Mailbox,
        model: Any,
        ends: frozenset[int],
        *,
        slots: int,
        prompt_step: int,
        memory: PromptMemory,
        max_kv_size: int | None = None,
    ) -> None:
        self.submit = mailbox.submit
        self.cancel = mailbox.cancel
        self._mailbox = mailbox
        self._memory = memory
        self._ends = ends
        self._jobs: dict[int, Job] = {}
        self._make: Callable[[], Any] = lambda: BatchGenerator(
            model,
            stop_tokens=[[token] for token in sorted(ends)],
            completion_batch_size=slots,
            prefill_batch_size=min(PREFILL, slots),
            prefill_step_size=prompt_step,
        )
        self._new_cache: Callable[[], list[Any]] = lambda: new_cache(model, max_kv_size)

    def run(self) -> None:
        self._generator: Any = self._make()
        while True:
            for order, job in self._mailbox.orders(wait=not self._jobs, gather=GATHER):
                if order == "submit":
                    self._insert(job)
                else:
                    self._remove(job)
            if self._jobs:
                self._mailbox.tell(self._step())

    def _insert(self, job: Job) -> None:
        try:
            sampler, processors = job.make()
            cache, known = self._memory.recall(job.prompt)
            job.cached = known
            (job.uid,) = self._generator.insert(
                [list(job.prompt[known:])],
                max_tokens=[job.most],
                caches=[cache or self._new_cache()],
                all_tokens=[list(job.prompt[:known])],
                samplers=[sampler],
                logits_processors=[processors],
            )
            self._jobs[job.uid] = job
        except BREAKS as error:
            self._mailbox.failed([job], error)

    def _remove(self, job: Job) -> None:
        if job.uid is not None and self._jobs.pop(job.uid, None) is not None:
            left = self._generator.remove([job.uid], return_prompt_caches=True)
            for cache, tokens in left.values():
                self._memory.keep(tokens, cache)

    def _step(self) -> list[tuple[Job, Event]]:
        try:
            last = self._last_tokens()
            prompts, tokens = ([], last) if last else self._generator.next()
            events: list[tuple[Job, Event]] = []
            for each in prompts:
                if (job := self._jobs.get(each.uid)) is not None and each.progress:
                    done, total = each.progress
                    events.append((job, Progress(done + job.cached, total + job.cached, job.cached)))
            for each in tokens:
                if (job := self._jobs.get(each.uid)) is not None:
                    events.append((job, token_of(job, each.token, each.logprobs, each.finish_reason)))
                    if each.finish_reason is not None:
                        del self._jobs[each.uid]
                        self._memory.keep(each.all_tokens, each.prompt_cache)
            return events
        except BREAKS as error:
            self._start_anew(error)
            return []

    def _last_tokens(self) -> list[Any]:
        """Those that all that run end with, if all do for their length: they are computed already, and mlx-lm would
        tell them only after it had computed one more of each, for nothing."""
        try:
            batch = self._generator._generation_batch
            counts, tokens, logprobs = batch._num_tokens, batch._next_tokens, batch._next_logprobs
        except AttributeError:  # somebody's own mlx-lm of another version
            return []
        if not batch.uids or any(count + 1 < most for count, most in zip(counts, batch.max_tokens, strict=True)):
            return []
        found = list(zip(batch.uids, tokens.tolist(), logprobs, strict=True))
        left = self._generator.remove(list(batch.uids), return_prompt_caches=True)
        return [
            batch.Response(uid, token, logprobs, "stop" if token in self._ends else "length", *left[uid])
            for uid, token, logprobs in found
        ]

    def _start_anew(self, error: Exception) -> None:
        """A step that failed leaves the batch in no known state: all that ran in it fails, the next ones do not."""
        failed, self._jobs = self._jobs, {}
        self._generator = self._make()
        self._mailbox.failed(list(failed.values()), error)
