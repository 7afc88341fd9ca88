"""How `bench` asks: prompts of a known length, and many requests at once."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any

from lanhaven.cli.bench_figures import Level, Sample
from lanhaven.cli.bench_subject import Subject
from lanhaven.cli.connection import Server, Target
from lanhaven.cli.failure import CliError, Exit
from lanhaven.client import AsyncClient, ChatCompletionChunk, Usage
from lanhaven.errors import GatewayError, UpstreamError

# Common words: most tokenizers have each of them as one token.
WORDS = (
    *("time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world", "school", "state"),
    *("family", "student", "group", "country", "problem", "hand", "part", "place", "case", "week", "company", "system"),
    *("program", "question", "work", "number", "night", "point", "home", "water", "room", "mother", "area", "money"),
    *("story", "fact", "month", "lot", "right", "study", "book", "eye", "job", "word", "business", "issue", "side"),
    *("kind", "head", "house", "service", "friend", "father", "power", "hour", "game", "line", "end", "member", "law"),
)
FEW, MORE = 32, 96  # words of the two prompts by which tokens are learnt to be counted
PATIENCE = 3600.0  # seconds; who waits for a turn waits, and that is measured
PAUSE = 0.2  # seconds after a failure: a server that refuses must not be asked in a circle


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked. requests, seconds: of each level; None = two for each at once, at least four; no limit."""

    concurrency: tuple[int, ...]
    prompt_tokens: int
    tokens: int
    requests: int | None = None
    seconds: float | None = None

    def numbers(self, concurrency: int) -> int | None:
        """How many requests a level has; None = as many as there is time for."""
        if self.requests is None and self.seconds is None:
            return max(4, 2 * concurrency)
        return self.requests


class Prompts:
    """Texts of about the same number of tokens that begin differently: nothing of one is in the cache of another."""

    def __init__(self, words: int) -> None:
        self.words = words
        self._random = random.Random()

    def __iter__(self) -> Iterator[str]:
        while True:
            yield self.text(self.words)

    def text(self, words: int) -> str:
        """Of so many words."""
        return " ".join(self._random.choices(WORDS, k=max(words, 1)))


@dataclass(slots=True)
class Wording:
    """A request's body. `ignore_eos` has llama.cpp, vLLM and others write on to the last token; who refuses the word is
    asked without it."""

    subject: Subject
    extra: Mapping[str, Any] = field(default_factory=lambda: {"ignore_eos": True})

    def body(self, text: str, tokens: int) -> dict[str, Any]:
        """Of a chat, or of an embedding."""
        if self.subject.embeds:
            return {"model": self.subject.name, "input": text}
        messages = [{"role": "user", "content": text}]
        return {"model": self.subject.name, "messages": messages, "max_tokens": tokens, **self.extra}

    @property
    def path(self) -> str:
        return "/v1/embeddings" if self.subject.embeds else "/v1/chat/completions"


def prompts_of(server: Server, wording: Wording, wanted: int) -> Prompts:
    """Prompts of `wanted` tokens, as the engine counts them with all that its template adds. CliError where the model
    does not answer."""
    prompts = Prompts(wanted)
    few, more = (_tokens(server, wording, prompts.text(words)) for words in (FEW, MORE))
    if few is not None and more is not None and more > few:
        each = (more - few) / (MORE - FEW)
        prompts.words = max(1, round((wanted - (few - each * FEW)) / each))
    return prompts


def _tokens(server: Server, wording: Wording, text: str) -> int | None:
    try:
        reply = server.post(wording.path, wording.body(text, 1), timeout=None)
    except CliError as error:
        if error.status not in (Exit.FAILED, Exit.USAGE) or not wording.extra or wording.subject.embeds:
            raise
        wording.extra = {}
        return _tokens(server, wording, text)
    usage = reply.get("usage") if isinstance(reply, dict) else None
    return int(usage["prompt_tokens"]) if usage and usage.get("prompt_tokens") else None


class Asking:
    """Level after level; `levels` is what is known so far, also when it was interrupted."""

    def __init__(self, target: Target, wording: Wording, prompts: Prompts, plan: Plan) -> None:
        self.levels: list[Level] = []
        self._target, self._wording, self._plan = target, wording, plan
        self._texts = iter(prompts)

    def run(self, told: Callable[[Level], None]) -> None:
        """`told` is called when a level begins, and after each request. GatewayError, KeyboardInterrupt."""
        asyncio.run(self._run(told))

    async def _run(self, told: Callable[[Level], None]) -> None:
        async with AsyncClient(
            self._target.url, self._target.key, timeout=PATIENCE, stream_idle_timeout=PATIENCE, max_retries=0,
            enable_streaming=True,
        ) as client:  # fmt: skip
            await self._once(client, 2)  # the first long prompt makes room, compiles, reads the model's last pages
            for concurrency in self._plan.concurrency:
                level = Level(concurrency)
                self.levels.append(level)
                told(level)
                await self._level(client, level, told)
                if not level.samples:
                    return  # more at once would not help

    async def _level(self, client: AsyncClient, level: Level, told: Callable[[Level], None]) -> None:
        began = time.perf_counter()
        end = began + self._plan.seconds if self._plan.seconds is not None else None
        turns = islice(count(), self._plan.numbers(level.concurrency))

        async def worker() -> None:
            for _ in turns:
                if end is not None and time.perf_counter() >= end:
                    return
                try:
                    level.samples.append(await self._once(client, self._plan.tokens))
                except GatewayError as error:
                    level.errors[error.message] += 1
                    await asyncio.sleep(PAUSE)
                level.seconds = time.perf_counter() - began
                told(level)

        async with asyncio.TaskGroup() as group:
            for _ in range(level.concurrency):
                group.create_task(worker())
        level.whole = True

    async def _once(self, client: AsyncClient, tokens: int) -> Sample:
        """One request. GatewayError."""
        body = self._wording.body(next(self._texts), tokens)
        began = time.perf_counter()
        if self._wording.subject.embeds:
            usage = (await client.create_embedding(body)).usage
            took = time.perf_counter() - began
            return _sample(took, took, usage)
        first = last = None
        usage = None
        async with client.stream_chat_completion(body) as stream:
            async for chunk in stream:
                usage = chunk.usage or usage
                if _says(chunk):
                    last = time.perf_counter() - began
                    first = last if first is None else first
        if first is None or last is None:
            raise UpstreamError("The answer was empty.")
        return _sample(first, last, usage)


def _says(chunk: ChatCompletionChunk) -> bool:
    """Whether there is a piece of the answer in it, or of what the model thinks (vLLM calls it `reasoning`)."""
    deltas = [each.delta for each in chunk.choices]
    return any(
        each.content or each.reasoning_content or each.tool_calls or each.extra.get("reasoning") for each in deltas
    )


def _sample(first: float, last: float, usage: Usage | None) -> Sample:
    """With the tokens as the engine counted them; 0 is what who does not count says."""
    if usage is None:
        return Sample(first, last, None, None)
    return Sample(first, last, usage.prompt_tokens or None, usage.completion_tokens or None)
