"""Embeddings, by models that are made for them and built like those that write (Qwen3-Embedding, E5-Mistral)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import mlx.core as mx

from lanhaven.engines.mlx.caches import new_cache
from lanhaven.engines.serving.bad import BadRequest
from lanhaven.engines.serving.embeddings import listed
from lanhaven.engines.serving.jobs import Computing, Event, Failed, Job, Vector
from lanhaven.engines.serving.prompts import Prompts


class Embedder:
    """Answers /v1/embeddings, one input after the other. `longest`: tokens of an input, at most."""

    def __init__(self, alias: str, prompts: Prompts, computing: Computing, longest: int) -> None:
        self._alias, self._prompts, self._computing, self._longest = alias, prompts, computing, longest

    async def __call__(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        inputs = self._prompts.of_completion(body.get("input"))
        for tokens in inputs:
            if not tokens:
                raise BadRequest("input has no tokens")
            if len(tokens) > self._longest:
                raise BadRequest(f"input ({len(tokens)} tokens) is too large: at most {self._longest} tokens")
        vectors = [await self._vector(tokens) for tokens in inputs]
        return listed(self._alias, vectors, sum(map(len, inputs)), body)

    async def _vector(self, tokens: Sequence[int]) -> Sequence[float]:
        done: asyncio.Future[Event] = asyncio.get_running_loop().create_future()

        def sink(event: Event) -> None:
            if isinstance(event, Vector | Failed) and not done.done():
                done.set_result(event)

        job = Job(tokens, 1, lambda: None, sink)
        self._computing.submit(job)
        try:
            found = await done
        finally:
            self._computing.cancel(job)  # whoever asked may have left
        if isinstance(found, Vector):
            return found.values
        raise BadRequest(found.message if isinstance(found, Failed) else "no embedding came out", 500)


class Pooling:
    """The steps of one input (single.Steps): its part that is computed last, with the vector of all of it.

    The text is read in parts of `prompt_step` tokens, as a prompt is: these models look back only.
    """

    def __init__(self, model: Any, pooling: str, *, prompt_step: int) -> None:
        """ValueError: mlx-lm's class for this model does not let its inner states be had."""
        inner = model.get("model")  # mlx's modules are dictionaries of their parts
        if inner is None:
            raise ValueError("mlx-lm does not give the inner states of this model, which embeddings are made of")
        self._model, self._inner = model, inner
        self._gather: Callable[[Any, Any], Any] = _GATHER[pooling]
        self._step = prompt_step

    def __call__(self, job: Job) -> Generator[tuple[int, Any] | None, None, None]:
        cache = new_cache(self._model, None)
        state: Any = None
        for start in range(0, len(job.prompt), self._step):
            part = mx.array([job.prompt[start : start + self._step]])
            hidden = self._inner(part, cache=cache)[0].astype(mx.float32)
            state = self._gather(state, hidden)
            mx.eval(state)
            yield None
        length = mx.linalg.norm(state)
        yield 0, (state / mx.maximum(length, 1e-12)).tolist()


def told(job: Job, token: int, vector: Any, finish: str | None) -> Vector:
    """For single.Single."""
    return Vector(vector)


def _mean(state: Any, hidden: Any) -> Any:
    """The sum: it is brought to length 1 in the end."""
    found = hidden.sum(axis=0)
    return found if state is None else state + found


_GATHER: Mapping[str, Callable[[Any, Any], Any]] = {"last": lambda _, hidden: hidden[-1], "mean": _mean}
