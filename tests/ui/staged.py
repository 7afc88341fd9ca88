"""A house as it is after some days of use, for pictures: a real model, neighbours, keys, and a past in the store."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from lanhaven.events import Failure, InferenceComplete, InferenceStart
from lanhaven.history import History, HistoryLimits
from lanhaven.history.history import FILE_NAME
from lanhaven.types.chat import Usage
from tests.e2e.conftest import entry
from tests.house_process import HouseProcess, running

KEY = "sk-test-0123456789abcdef0123456789abcdef"
REAL = "smollm2-135m"
NEIGHBOURS = {"qwen3-8b": "llm", "gemma-3-12b": "llm", "qwen3-vl-4b": "vlm", "nomic-embed-text": "embedding"}
KEYS = {"anna": "Claude Code/2.1", "ben": "Zed/0.212", "home": "ollama-python/0.6.3", "n8n": "axios/1.12"}
SECOND = 10**9
MINUTES = 90


@contextmanager
def staged(home: Path, smollm2: Path) -> Iterator[HouseProcess]:
    """Serve it, until the block ends. `http` has the key of the settings."""
    (home / "neighbour").mkdir()
    (home / "house" / "data").mkdir(parents=True)
    answers = "config: {answer: random, tokens: 48, interval_ms: 12}"
    there = f"default_model: {next(iter(NEIGHBOURS))}\nmodels:\n" + "".join(
        f"  - {{id: {name}, provider: mock, enabled: true, {'config: {kind: embedding}' if kind == 'embedding' else answers}}}\n"
        for name, kind in NEIGHBOURS.items()
    )
    with running(home / "neighbour", there, "--provider", "mock") as neighbour:
        past = home / "house" / "data" / FILE_NAME
        with ThreadPoolExecutor(1) as thread:  # this one has Playwright's event loop
            thread.submit(lambda: asyncio.run(remember(past))).result()
        short = "{maxTokens: 120, temperature: 0}"  # left alone it may write until its context is full
        here = f"default_model: {REAL}\nmodels:\n" + entry(REAL, smollm2, defaults=short)
        here += "".join(
            f"  - {{id: {name}, provider: openai, enabled: true, config: {{base_url: '{neighbour.url}', kind: {kind}}}}}\n"
            for name, kind in NEIGHBOURS.items()
        )
        with running(
            home / "house", here, LANHAVEN_API_KEY=KEY, LANHAVEN_DEFAULT_SLOTS="2", LANHAVEN_MAX_LOADED_MODELS="4"
        ) as house:
            house.http.headers["x-api-key"] = KEY
            yield house


async def remember(path: Path) -> None:
    """Ninety minutes of requests, always the same but for the clock."""
    clock = [0]
    chance = random.Random(20261121)
    gauges = [(0, 0, 0)]
    history = History(path, HistoryLimits(), lambda: gauges[0], now=lambda: clock[0])
    begin = time.time_ns() - MINUTES * 60 * SECOND
    for step in range(MINUTES * 6):
        clock[0] = begin + step * 10 * SECOND
        busy = max(0.0, 2.4 + 2 * math.sin(step / 34) + chance.uniform(-1, 1))
        for _ in range(round(busy) if not 150 < step < 190 else 0):
            one(history, chance, clock[0] + chance.randrange(10 * SECOND))
        gauges[0] = (min(4, round(busy)), max(0, round(busy) - 3), 318_000_000 if step > 60 else 0)
        history.sample()
    await history.write()
    await history.aclose()


def one(history: History, chance: random.Random, at: int) -> None:
    """A request of one of the apps, mostly answered."""
    request_id = f"req_{at // 10**6}_{chance.randrange(16**10):010x}"
    key = chance.choices(list(KEYS), [5, 3, 2, 1])[0]
    model = chance.choices([REAL, *NEIGHBOURS], [2, 5, 3, 1, 0])[0]
    prompt, tokens, first = chance.randrange(200, 4000), chance.randrange(20, 400), chance.lognormvariate(-1.5, 0.5)
    dialect, route = chance.choice(
        [("openai", "/v1/chat/completions"), ("anthropic", "/v1/messages"), ("ollama", "/api/chat")]
    )
    seconds = first + tokens / chance.uniform(35, 60)
    history.began(
        InferenceStart(
            at=at - int(seconds * SECOND), request_id=request_id, method="POST", path=route, dialect=dialect, model=model,
            client=key, address="192.168.1.24", user_agent=KEYS[key], parameters={"temperature": 0.7, "stream": True},
        )
    )  # fmt: skip
    told = {"request_id": request_id, "model_key": model, "instance_id": model, "dialect": dialect, "client": key}
    if chance.random() < 0.03:
        history.ended(
            Failure(
                at=at, operation="inference", error="The prompt is too long: 19,400 tokens, and 8,192 fit.",
                code="context_length_exceeded", status=400, seconds=0.02, streamed=True, **told,
            )
        )  # fmt: skip
        return
    usage = Usage(prompt_tokens=prompt, completion_tokens=tokens)
    history.ended(
        InferenceComplete(
            at=at, streamed=True, seconds=seconds, queue_seconds=chance.uniform(0, 0.05), first_byte_seconds=first,
            first_token_seconds=first, finish_reason="stop", usage=usage, **told,
        )
    )  # fmt: skip
