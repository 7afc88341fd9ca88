"""One LanHaven driving another that speaks LM Studio's protocol: what the way through the first one adds."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import uvloop

from bench.client import Client, request_bytes
from bench.own import call, models, packed
from bench.peers import KEY, Peer, lanhaven

if TYPE_CHECKING:
    from bench.run import Bench

SCRIPTED = "models:\n  - {id: scripted, provider: mock, enabled: true}\n"
DIFFERENT = 512  # a context length that no other load here has


def studio(bench: Bench) -> None:
    """Time to the first token on a real engine; the native API on scripted models, whose own time is next to none."""
    with ExitStack() as stack:
        behind = stack.enter_context(lanhaven(bench.folder, models(packed("smollm2"))))
        front = stack.enter_context(driving(bench, behind))
        first_token(bench, front, behind)
    with ExitStack() as stack:
        behind = stack.enter_context(lanhaven(bench.folder, SCRIPTED, LANHAVEN_MOCK="true"))
        front = stack.enter_context(driving(bench, behind))
        orders(bench, front, behind)


def driving(bench: Bench, behind: Peer) -> Any:
    """A LanHaven whose LM Studio is the other one."""
    url = behind.url.removesuffix("/v1/chat/completions")
    options = {"lmstudio": {"base_url": url, "api_token": KEY}}
    return lanhaven(bench.folder, "models: []\n", LANHAVEN_PROVIDERS=json.dumps(options))


def first_token(bench: Bench, front: Peer, behind: Peer) -> None:
    """Median of the differences of pairs, one right after the other, in turns."""
    pairs = 10 if bench.quick else 50
    times: dict[str, list[float]] = {front.url: [], behind.url: []}
    for number in range(pairs + 3):
        for url in (front.url, behind.url) if number % 2 else (behind.url, front.url):
            seconds = uvloop.run(to_first_token(url))
            if number >= 3:
                times[url].append(seconds)
    added = 1000 * (statistics.median(times[front.url]) - statistics.median(times[behind.url]))
    alone = 1000 * statistics.median(times[behind.url])
    bench.add("LM Studio driven: time to first token, added", f"{added:.1f} ms over {alone:.0f} ms", "at most 3 ms",
              added <= 3)  # fmt: skip


async def to_first_token(url: str) -> float:
    """Seconds from the request to the first content."""
    first = 0.0

    def data(block: bytes) -> None:
        nonlocal first
        if not first and b'"content":"' in block:
            first = time.perf_counter()

    client = Client(url)
    request = request_bytes(url, key=KEY, model="smol", stream=True, max_tokens=4)
    start = time.perf_counter()
    await client.send(request, data)
    client.close()
    return first - start


def orders(bench: Bench, front: Peer, behind: Peer) -> None:
    """A load and an unload, over the front and asked directly."""
    config = {"contextLength": DIFFERENT}
    body = {"modelKey": "scripted", "instanceId": "bench", "loadConfig": config}

    def order(peer: Peer) -> Callable[[], object]:
        def run() -> object:
            call(peer, "/admin/models/load", body)
            return call(peer, "/admin/models/unload", {"modelKey": "scripted", "instanceId": "bench"})

        return run

    first = timed(order(front))
    turns = 5 if bench.quick else 25
    pairs = [(timed(order(front)), timed(order(behind))) for _ in range(turns)]
    over, alone = (1000 * statistics.median(each) for each in zip(*pairs, strict=True))
    bench.add("LM Studio driven: first load and unload", f"{1000 * first - alone:.0f} ms over its own {alone:.0f} ms",
              "at most 500 ms", 1000 * first - alone <= 500)  # fmt: skip
    bench.add("LM Studio driven: later ones", f"{over - alone:.1f} ms over its own {alone:.0f} ms", "at most 10 ms",
              over - alone <= 10)  # fmt: skip


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
