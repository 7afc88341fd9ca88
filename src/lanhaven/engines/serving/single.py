"""One request after the other: for what cannot be batched."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Any

from lanhaven.engines.serving.jobs import Job, Token, Vector
from lanhaven.engines.serving.mailbox import BREAKS, Mailbox

# Computes one job: its tokens, each with what its logprobs can be had of; None between two parts of a prompt, so that
# one that nobody wants any more ends there. It is closed when nobody wants more.
Steps = Callable[[Job], Generator[tuple[int, Any] | None, None, None]]
# (job, token, what its logprobs can be had of, why the answer ends with it) -> what is told of it
Telling = Callable[[Job, int, Any, str | None], Token | Vector]


class Single:
    """Implements Computing."""

    def __init__(self, mailbox: Mailbox, ends: frozenset[int], steps: Steps, telling: Telling) -> None:
        self.submit = mailbox.submit
        self.cancel = mailbox.cancel
        self._mailbox = mailbox
        self._ends = ends
        self._steps, self._telling = steps, telling
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

    def _tokens(self, job: Job, steps: Iterator[tuple[int, Any] | None]) -> None:
        count, finish = 0, None
        for step in steps:
            if step is not None:
                count += 1
                finish = "stop" if step[0] in self._ends else "length" if count >= job.most else None
                self._mailbox.tell([(job, self._telling(job, *step, finish))])
            self._look()
            if finish is not None or self._left:
                return
