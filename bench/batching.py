"""Many prompts in one call, against the same prompts sent at once to the engine itself, and one after the other."""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from bench.client import Client
from bench.own import Unobserved, models, packed
from bench.peers import KEY, Peer, lanhaven
from lanhaven.providers.base import ModelEntry, ProviderContext
from lanhaven.providers.registry import create
from lanhaven.types.models import LoadConfig, Upstream

if TYPE_CHECKING:
    from bench.run import Bench

Way = Callable[[list[str]], Awaitable[None]]

PROMPTS = 16
TOKENS = 48
CHAT = "/v1/chat/completions"
FIELDS: dict[str, Any] = {"model": "smol", "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True}


def batch(bench: Bench) -> None:
    """All three in turns, so that they see the same state of the machine."""
    model = packed("smollm2")
    with lanhaven(bench.folder, models(model)) as peer:
        rounds = uvloop.run(rounds_of(peer, model, 3 if bench.quick else 9))
    ours, engine, alone = (statistics.median(times) for times in zip(*rounds, strict=True))
    ratio = statistics.median(called / direct for called, direct, _ in rounds)
    figure = f"{ours:.2f} s of {engine:.2f} s ({ratio:.3f})"
    bench.add(f"{PROMPTS} prompts in one call against the engine asked directly", figure, "at most 1.05", ratio <= 1.05)
    gain = statistics.median(sequential / called for called, _, sequential in rounds)
    figure = f"{ours:.2f} s, {alone:.2f} s ({gain:.2f} times)"
    bench.add(f"{PROMPTS} prompts in one call against one after the other", figure, "less", gain > 1)


async def rounds_of(gateway: Peer, model: Path, count: int) -> list[tuple[float, float, float]]:
    """Seconds of the batch call, of the engine asked at once, and of the engine asked one after the other."""
    with tempfile.TemporaryDirectory(prefix="lhb", dir="/tmp") as run_dir:  # a socket's path must be short
        provider = create("llama_cpp", ProviderContext("llama_cpp", Path(run_dir)))
        entry = ModelEntry("smol", "llama_cpp", config={"model_path": str(model)})
        info = replace(provider.describe(entry), config=entry.config)
        child = (await provider.load(info, "smol", LoadConfig(), Unobserved())).upstream
        ways: tuple[Way, ...] = (partial(called, gateway), partial(at_once, child), partial(in_turn, child))
        rounds = []
        for number in range(count + 1):
            order = (*ways[number % 3 :], *ways[: number % 3])
            times = {way: await seconds(way, prompts(f"{number} {place}")) for place, way in enumerate(order)}
            rounds.append((times[ways[0]], times[ways[1]], times[ways[2]]))
        await provider.aclose()
        return rounds[1:]  # the first one warms up


def prompts(nonce: str) -> list[str]:
    """Different ones, in every turn: nothing comes from a prompt cache."""
    return [f"{nonce} {number}: tell me about the sea, the wind and the number {number}." for number in range(PROMPTS)]


async def seconds(way: Way, texts: list[str]) -> float:
    """How long it takes to have all answers."""
    start = time.perf_counter()
    await way(texts)
    return time.perf_counter() - start


async def called(gateway: Peer, texts: list[str]) -> None:
    """One batch call."""
    base = gateway.url.removesuffix(CHAT)
    messages = [{"role": "user", "content": text} for text in texts]
    await ask(Upstream(model="smol", base_url=base), "/v1/batch/chat/completions", {**FIELDS, "messages": messages})


async def at_once(engine: Upstream, texts: list[str]) -> None:
    """As many requests as prompts, at once: the engine itself queues those for which it has no slot."""
    await asyncio.gather(*(one(engine, text) for text in texts))


async def in_turn(engine: Upstream, texts: list[str]) -> None:
    """One request after the other."""
    for text in texts:
        await one(engine, text)


async def one(engine: Upstream, text: str) -> None:
    """One prompt."""
    await ask(engine, CHAT, {**FIELDS, "model": engine.model, "messages": [{"role": "user", "content": text}]})


async def ask(upstream: Upstream, path: str, body: dict[str, Any]) -> None:
    """One request on a connection of its own, which must be answered well."""
    headers = dict(upstream.headers) or {"authorization": f"Bearer {KEY}"}
    said = json.dumps(body).encode()
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n{head}"
    client = Client(upstream.base_url or "http://engine", upstream.socket)
    code = await client.send(request.encode() + b"content-length: %d\r\n\r\n" % len(said) + said)
    client.close()
    if code != 200:
        raise RuntimeError(f"{path} was answered with {code}")
