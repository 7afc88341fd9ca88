"""What only LanHaven is measured for: its engines against themselves, its start, its memory."""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import uvloop

from bench.client import Client, request_bytes
from bench.peers import KEY, Peer, lanhaven
from lanhaven.providers.base import ModelEntry, ProviderContext
from lanhaven.providers.registry import create
from lanhaven.types.models import LoadConfig, Upstream

if TYPE_CHECKING:
    from bench.run import Bench

TOKENS = 128


def packed(name: str) -> Path:
    """A packed model, fetched where it is not there yet."""
    from lanhaven.config import load_settings
    from lanhaven.packed import fetch, installed

    data = load_settings().data_dir
    return installed(name, data) or fetch(name, data, lambda stage, done, total: None)


def models(path: Path, second: Path | None = None) -> str:
    """models.yaml with SmolLM2, and a second copy of it under another name."""
    entries = [("smol", path)] + ([("other", second)] if second else [])
    listed = "".join(
        f"  - id: {name}\n    provider: llama_cpp\n    enabled: true\n"
        f"    config: {{model_path: {json.dumps(str(file))}}}\n"
        for name, file in entries
    )
    return f"default_model: smol\nmax_loaded_models: 1\nmodels:\n{listed}"


def call(peer: Peer, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """One request to the native API."""
    base = peer.url.removesuffix("/v1/chat/completions")
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(base + path, data, headers), timeout=300) as reply:
        answer: dict[str, Any] = json.load(reply)
        return answer


async def tokens_per_second(upstream: Upstream, clients: int) -> float:
    """Of `clients` concurrent streams with TOKENS tokens each."""
    count = 0

    def data(block: bytes) -> None:
        nonlocal count
        count += block.count(b'"delta":{"content"')

    url, (_, authorization) = f"{upstream.base_url or 'http://engine'}/v1/chat/completions", upstream.headers[0]
    key = authorization.removeprefix("Bearer ")

    async def one(index: int) -> None:
        connection = Client(url, upstream.socket)
        request = request_bytes(url, key=key, model=upstream.model, stream=True, user=f"u{index}", max_tokens=TOKENS)
        await connection.send(request, data)
        connection.close()

    start = time.perf_counter()
    await asyncio.gather(*(one(index) for index in range(clients)))
    return count / (time.perf_counter() - start)


class Unobserved:
    """Nobody looks at this load."""

    def progress(self, stage: str, fraction: float | None = None) -> None:
        """Nothing to show."""

    def gone(self, error: Exception) -> None:
        """The next turn will fail, and say so."""


async def pairs_of(bench: Bench, gateway: Peer, model: Path) -> list[tuple[float, float]]:
    """Rates of LanHaven and of an engine child of the same settings, one right after the other: both see the same state
    of the machine."""
    with tempfile.TemporaryDirectory(prefix="lhb", dir="/tmp") as run_dir:  # a socket's path must be short
        provider = create("llama_cpp", ProviderContext("llama_cpp", Path(run_dir)))
        entry = ModelEntry("smol", "llama_cpp", config={"model_path": str(model)})
        info = replace(provider.describe(entry), config=entry.config)
        child = (await provider.load(info, "smol", LoadConfig(), Unobserved())).upstream
        base = gateway.url.removesuffix("/v1/chat/completions")
        ours = Upstream(model="smol", base_url=base, headers=(("authorization", f"Bearer {KEY}"),))
        pairs = []
        for number in range(4 if bench.quick else 12):
            order = (ours, child) if number % 2 else (child, ours)
            rates = {id(each): await tokens_per_second(each, 4) for each in order}
            pairs.append((rates[id(ours)], rates[id(child)]))
        await provider.aclose()
        return pairs


def engine(bench: Bench) -> None:
    """Four streams through LanHaven against an engine child asked directly, in turns; a swap against a bare load."""
    model = packed("smollm2")
    copy = bench.folder / "other.gguf"
    copy.hardlink_to(model) if copy.parent.stat().st_dev == model.stat().st_dev else copy.write_bytes(
        model.read_bytes()
    )
    with lanhaven(bench.folder, models(model, copy)) as peer:
        pairs = uvloop.run(pairs_of(bench, peer, model))
        ratio = statistics.median(ours / theirs for ours, theirs in pairs)
        ours, theirs = (statistics.median(rates) for rates in zip(*pairs, strict=True))
        bench.add(
            "SmolLM2, 4 streams, tokens/s against the engine asked directly",
            f"{ours:.0f} of {theirs:.0f} ({ratio:.3f}, median of {len(pairs)} pairs)",
            "at least 0.97",
            ratio >= 0.97,
        )
        swap(bench, peer)


def swap(bench: Bench, peer: Peer) -> None:
    """A request for the model that is not loaded, where one may be: eviction and load, against a load alone."""
    bare, swapped = [], []
    for _ in range(3):
        for name in ("smol", "other"):
            start = time.perf_counter()
            ask(peer, name)
            swapped.append(time.perf_counter() - start)
    for name in ("smol", "other", "smol"):
        unload_all(peer)
        start = time.perf_counter()
        ask(peer, name)
        bare.append(time.perf_counter() - start)
    ratio = min(swapped[1:]) / min(bare)
    bench.add("swap of two models against a bare load", f"{min(swapped[1:]):.2f} s of {min(bare):.2f} s ({ratio:.2f})",
              "at most 1.15", ratio <= 1.15)  # fmt: skip


def ask(peer: Peer, model: str) -> None:
    """One token."""
    call(
        peer, "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    )


def unload_all(peer: Peer) -> None:
    """Empty memory."""
    for each in call(peer, "/admin/models")["loaded"]:
        call(peer, "/admin/models/unload", {"modelKey": each["path"], "instanceId": each["identifier"]})


def process(bench: Bench) -> None:
    """Start to ready with the model cached, and the gateway's own memory at rest."""
    model = packed("smollm2")
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        with lanhaven(bench.folder, models(model)) as peer:
            while not any(each["state"] == "ready" for each in call(peer, "/admin/models")["loaded"]):
                time.sleep(0.02)
            seconds.append(time.perf_counter() - start)
            idle = psutil.Process(peer.pids[0]).memory_full_info().uss / 2**20
    bench.add("ready, default model loaded", f"{min(seconds):.2f} s", "at most 2.5 s", min(seconds) <= 2.5)
    bench.add("gateway's memory at rest (USS)", f"{idle:.0f} MB", "at most 100 MB", idle <= 100)
