"""What only LanHaven is measured for: its engines against themselves, its start, its memory."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import uvloop

from bench.client import Client, request_bytes
from bench.peers import KEY, Peer, free_port, lanhaven

if TYPE_CHECKING:
    from bench.run import Bench

TOKENS = 64


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


async def tokens_per_second(url: str, key: str, clients: int) -> float:
    """Of `clients` concurrent streams with TOKENS tokens each."""
    count = 0

    def data(block: bytes) -> None:
        nonlocal count
        count += block.count(b'"delta":{"content"')

    async def one(index: int) -> None:
        connection = Client(url)
        request = request_bytes(url, key=key, model="smol", stream=True, user=f"u{index}", max_tokens=TOKENS)
        await connection.send(request, data)
        connection.close()

    start = time.perf_counter()
    await asyncio.gather(*(one(index) for index in range(clients)))
    return count / (time.perf_counter() - start)


DIRECT = """
import sys, xllamacpp as xlc
p = xlc.CommonParams()
p.model.path, p.n_ctx, p.n_parallel, p.fit_params = sys.argv[1], 4 * 8192, 4, False
p.hostnames, p.port, p.ui, p.cache_ram_mib = ["127.0.0.1"], int(sys.argv[2]), False, 0
p.model_alias = ["smol"]
server = xlc.Server(p)
print("ready", flush=True)
sys.stdin.read()
import os; os._exit(0)
"""


def engine(bench: Bench) -> None:
    """Four streams through LanHaven against the same engine asked directly, in turns; a swap against a bare load."""
    model = packed("smollm2")
    copy = bench.folder / "other.gguf"
    copy.hardlink_to(model) if copy.parent.stat().st_dev == model.stat().st_dev else copy.write_bytes(
        model.read_bytes()
    )
    with ExitStack() as stack:
        port = free_port()
        bare = subprocess.Popen(
            [sys.executable, "-c", DIRECT, str(model), str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env={"GOMP_SPINCOUNT": "1000", "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        stack.callback(bare.wait)
        stack.callback(bare.kill)
        assert bare.stdout is not None
        bare.stdout.readline()
        peer = stack.enter_context(lanhaven(bench.folder, models(model, copy)))
        direct_url = f"http://127.0.0.1:{port}/v1/chat/completions"
        rates: dict[str, list[float]] = {"direct": [], "LanHaven": []}
        for _ in range(3 if bench.quick else 6):
            rates["direct"].append(uvloop.run(tokens_per_second(direct_url, "none", 4)))
            rates["LanHaven"].append(uvloop.run(tokens_per_second(peer.url, KEY, 4)))
        ours, theirs = max(rates["LanHaven"]), max(rates["direct"])
        bench.add(
            "SmolLM2, 4 streams, tokens/s against the engine asked directly",
            f"{ours:.0f} of {theirs:.0f} ({ours / theirs:.3f})",
            "at least 0.97",
            ours / theirs >= 0.97,
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
