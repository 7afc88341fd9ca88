"""What other words cost: the translated dialects against the pass-through, in the same run, in turns."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import uvloop

from bench import client
from bench.peers import KEY, Peer, fronting, lanhaven, upstream

if TYPE_CHECKING:
    from bench.run import Bench

GOAL = 1.6  # times the CPU of the pass-through
MESSAGES = [{"role": "user", "content": client.PROMPT}]


@dataclass(frozen=True, slots=True)
class Words:
    """One dialect: its path, and a request in its words."""

    name: str
    path: str
    body: dict[str, Any]

    def request(self, peer: Peer, *, stream: bool) -> bytes:
        """The whole request."""
        parts = urlsplit(peer.url)
        body = json.dumps(self.body | {"stream": stream}).encode()
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


DIALECTS = (
    Words("OpenAI", "/v1/chat/completions", {"model": "bench", "messages": MESSAGES, "max_tokens": 64}),
    Words("Anthropic", "/v1/messages", {"model": "bench", "messages": MESSAGES, "max_tokens": 64}),
    Words("Responses", "/v1/responses", {"model": "bench", "input": client.PROMPT, "store": False}),
    Words("Ollama", "/api/chat", {"model": "bench", "messages": MESSAGES, "options": {"num_predict": 64}}),
)


def dialects(bench: Bench) -> None:
    """CPU a whole reply, and a chunk of 60 streams at 20 ms."""
    count = 1000 if bench.quick else 3000
    with upstream(bench.folder) as port, lanhaven(bench.folder, fronting(port)) as peer:
        cpu = in_turns(6, lambda words: whole(peer, words, count))
    tell(bench, "whole reply, CPU a request", cpu)
    tokens = 100 if bench.quick else 250
    options = ("--tokens", str(tokens), "--interval-ms", "20")
    with upstream(bench.folder, *options) as port, lanhaven(bench.folder, fronting(port)) as peer:
        cpu = in_turns(2 if bench.quick else 3, lambda words: paced(peer, words, tokens))
    tell(bench, "60 streams at 20 ms, CPU a chunk", cpu)


def in_turns(turns: int, measure: Callable[[Words], float]) -> dict[str, float]:
    """The best of some turns of each."""
    measured = [{words.name: measure(words) for words in DIALECTS} for _ in range(turns)]
    return {words.name: min(each[words.name] for each in measured) for words in DIALECTS}


def whole(peer: Peer, words: Words, count: int) -> float:
    """Microseconds a request."""
    request = words.request(peer, stream=False)
    result = uvloop.run(client.closed_loop(peer.url, request, count=count, clients=16, pids=peer.pids))
    assert set(result.codes) == {200}, result.codes
    return result.cpu_per_request


def paced(peer: Peer, words: Words, tokens: int, count: int = 60) -> float:
    """Microseconds a chunk that the upstream sent."""
    request = words.request(peer, stream=True)
    result = uvloop.run(client.many(peer.url, request, count=count, pids=peer.pids))
    assert result.codes == {200: count}, result.codes
    return 1e6 * result.cpu / (count * tokens)


def tell(bench: Bench, what: str, cpu: dict[str, float]) -> None:
    """A row for each dialect."""
    plain = cpu["OpenAI"]
    bench.add(f"{what}: OpenAI, which passes", f"{plain:.1f} us")
    for name, figure in cpu.items():
        if name != "OpenAI":
            bench.add(f"{what}: {name}", f"{figure:.1f} us ({figure / plain:.2f} times)", f"at most {GOAL} times",
                      figure <= GOAL * plain)  # fmt: skip
