"""Measures LanHaven beside nginx and LiteLLM, one after the other on the same upstream in one run, and prints the
table.

    scripts/bench [--quick] [--only PARTS] [--litellm PYTHON] [--write]

Parts, by comma: overhead, streams, overload, many, dialects, engine, batch, mlx, process, studio.

CPU is that of the proxy's processes. The proxies are measured in turns, several times, and the best turn counts:
noise only ever adds. `--write` puts the table into docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil
import uvloop

from bench import batching, client, dialects, mlx, own, studio
from bench.peers import KEY, Peer, fronting, lanhaven, litellm, nginx, upstream

DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
MARK = "<!-- table -->"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `goal`: what LanHaven has to reach; `met`: whether it did, None where there is no goal."""

    what: str
    figure: str
    goal: str = ""
    met: bool | None = None


@dataclass(slots=True)
class Bench:
    """Options and what came out."""

    folder: Path
    litellm_python: Path | None
    quick: bool
    rows: list[Row] = field(default_factory=list)

    def add(self, what: str, figure: str, goal: str = "", met: bool | None = None) -> None:
        """Note a row, and show it at once."""
        self.rows.append(Row(what, figure, goal, met))
        mark = {True: "  ok", False: "  NOT MET", None: ""}[met]
        print(f"{what:<58} {figure:<34} {goal}{mark}", flush=True)

    def peers(self, stack: ExitStack, port: int, *, slow: bool = True) -> list[Peer]:
        """All proxies in front of one upstream."""
        entered = [
            stack.enter_context(nginx(self.folder, port)),
            stack.enter_context(lanhaven(self.folder, fronting(port))),
            stack.enter_context(litellm(self.folder, port, self.litellm_python)) if slow else None,
        ]
        return [peer for peer in entered if peer is not None]


def overhead(bench: Bench) -> None:
    """Whole replies: CPU a request, requests a second, added latency of a lone client."""
    with ExitStack() as stack:
        port = stack.enter_context(upstream(bench.folder))
        peers = bench.peers(stack, port)
        direct = Peer("direct", f"http://127.0.0.1:{port}/v1/chat/completions", ())
        cpu, rate, lone = (defaultdict[str, list[float]](list) for _ in range(3))
        for _ in range(2 if bench.quick else 12):  # many short turns: a shared machine is quiet for moments only
            for peer in [direct, *peers]:
                count = 50 if peer.name == "LiteLLM" else 4000
                turn = closed(peer, count, 16)
                cpu[peer.name].append(turn.cpu_per_request)
                rate[peer.name].append(turn.rate)
                lone[peer.name].append(closed(peer, max(20, count // 10), 1).quantile(0.5))
    for name, turns in cpu.items():
        if name != "direct":
            bench.add(f"whole reply, CPU a request: {name}", f"{min(turns):.0f} us")
    if "nginx" in cpu:
        ratio = min(cpu["LanHaven"]) / min(cpu["nginx"])
        bench.add("whole reply, CPU against nginx", f"{ratio:.1f} times", "at most 7 times", ratio <= 7)
        # The goal was set on a machine where nginx did 12,000; a slower machine lowers it, a faster one does not raise
        # it: there nginx comes close to its own limit, and the CPU ratio above says how far apart the limits are.
        ours, theirs = max(rate["LanHaven"]), max(rate["nginx"])
        goal = 5000 * min(1.0, theirs / 12000)
        bench.add("requests/s at 16 clients, LanHaven and nginx", f"{ours:.0f}, {theirs:.0f}",
                  f"at least {goal:.0f}", ours >= goal)  # fmt: skip
    added = min(lone["LanHaven"]) - min(lone["direct"])
    bench.add("added latency, one client, p50", f"{added:.2f} ms", "at most 0.6 ms", added <= 0.6)


def closed(peer: Peer, count: int, clients: int) -> client.Result:
    """One closed-loop turn."""
    request = client.request_bytes(peer.url, key=KEY, model="bench", stream=False)
    return uvloop.run(client.closed_loop(peer.url, request, count=count, clients=clients, pids=peer.pids))


def paced(bench: Bench) -> None:
    """60 paced streams: CPU a chunk, added gap."""
    count, tokens = 60, 100 if bench.quick else 250
    cpu = {}
    with ExitStack() as stack:
        port = stack.enter_context(upstream(bench.folder, "--tokens", str(tokens), "--interval-ms", "20"))
        for peer in bench.peers(stack, port):
            turns = [many_streams(peer, count, tokens) for _ in range(1 if peer.name == "LiteLLM" else 2)]
            best = min(turns, key=lambda turn: turn.result.cpu_per_chunk)
            cpu[peer.name] = best.result.cpu_per_chunk
            figure = f"{best.result.cpu_per_chunk:.1f} us, gap p99 {best.gap(0.99):.1f} ms"
            bench.add(f"60 streams at 20 ms, CPU a chunk: {peer.name}", figure)
    if "nginx" in cpu:
        ratio = cpu["LanHaven"] / cpu["nginx"]
        bench.add("stream chunk, CPU against nginx", f"{ratio:.2f} times", "at most 2.8 times", ratio <= 2.8)


def many_streams(peer: Peer, count: int, tokens: int) -> client.Streams:
    """One turn of paced streams."""
    return uvloop.run(client.streams(peer.url, key=KEY, count=count, tokens=tokens, pids=peer.pids))


def crowd(bench: Bench) -> None:
    """500 streams at 20 tokens/s: nothing lost, nothing mixed, small added gaps."""
    tokens = 100 if bench.quick else 300
    with ExitStack() as stack:
        port = stack.enter_context(upstream(bench.folder, "--tokens", str(tokens), "--interval-ms", "50"))
        for peer in bench.peers(stack, port, slow=False):
            turns = [many_streams(peer, 500, tokens) for _ in range(2)]
            best = min(turns, key=lambda turn: turn.gap(0.99))
            wrong = sum(turn.lost + turn.mixed for turn in turns)
            ours = peer.name == "LanHaven"
            bench.add(f"500 streams, tokens lost or mixed: {peer.name}", str(wrong), "0" if ours else "",
                      wrong == 0 if ours else None)  # fmt: skip
            bench.add(f"500 streams, added gap p99: {peer.name}", f"{best.gap(0.99):.1f} ms",
                      "at most 15 ms" if ours else "", best.gap(0.99) <= 15 if ours else None)  # fmt: skip


def overload(bench: Bench) -> None:
    """Five times the capacity of an upstream with 8 slots, open loop."""
    slots, service, seconds = 8, 0.05, 6 if bench.quick else 20
    capacity = slots / service
    with ExitStack() as stack:
        port = stack.enter_context(upstream(bench.folder, "--slots", str(slots), "--service-ms", str(service * 1000)))
        peer = stack.enter_context(lanhaven(bench.folder, fronting(port, slots), LANHAVEN_QUEUE_DEPTH="16"))
        request = client.request_bytes(peer.url, key=KEY, model="bench", stream=False)
        results = uvloop.run(client.open_loop(peer.url, request, rate=5 * capacity, seconds=seconds, pids=peer.pids))
        good = results.get(200, client.Result())
        share = len(good.latencies) / (capacity * seconds)
        refused = [code for code in results if code in (429, 503)]
        slowest = max((results[code].quantile(0.99) for code in refused), default=float("nan"))
        others = {code: len(result.latencies) for code, result in results.items() if code not in (200, 429, 503)}
        bench.add("overload x5, goodput", f"{100 * share:.0f} % of capacity", "at least 80 %", share >= 0.8)
        bench.add("overload x5, refusals answered, p99", f"{slowest:.1f} ms", "under 50 ms", slowest < 50)
        bench.add("overload x5, other answers", json.dumps(others), "none", not others)
        after = uvloop.run(client.closed_loop(peer.url, request, count=200, clients=4, pids=peer.pids))
        calm = after.quantile(0.5) - service * 1000
        bench.add("after the overload, added latency p50", f"{calm:.1f} ms, {after.codes}", "normal within 5 s",
                  after.codes == {200: 200} and calm < 20)  # fmt: skip


PARTS: dict[str, Callable[[Bench], None]] = {
    "overhead": overhead,
    "streams": paced,
    "many": crowd,
    "overload": overload,
    "dialects": dialects.dialects,
    "engine": own.engine,
    "batch": batching.batch,
    "mlx": mlx.mlx,
    "process": own.process,
    "studio": studio.studio,
}


def table(rows: list[Row]) -> str:
    """Markdown, with the date and the machine."""
    memory = psutil.virtual_memory().total / 2**30
    machine = f"{platform.system()} {platform.machine()}, {psutil.cpu_count()} cores, {memory:.0f} GiB"
    machine += f", Python {platform.python_version()}"
    head = f"{datetime.now(UTC):%Y-%m-%d}, {machine}.\n\n| what | measured | goal | met |\n| --- | --- | --- | --- |\n"
    marks = {True: "yes", False: "**no**", None: ""}
    return head + "".join(f"| {row.what} | {row.figure} | {row.goal} | {marks[row.met]} |\n" for row in rows)


def write(rows: list[Row]) -> None:
    """Replace what stands between the marks of the document."""
    before, _, rest = DOCUMENT.read_text().partition(MARK)
    _, _, after = rest.partition(MARK)
    DOCUMENT.write_text(f"{before}{MARK}\n{table(rows)}{MARK}{after}")


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="a fifth of the load: for a look, not for figures to quote"
    )
    parser.add_argument("--only", default=",".join(PARTS), help="parts, by comma")
    parser.add_argument("--litellm", type=Path, default=None, help="python of an environment that has litellm[proxy]")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args()
    print(f"load average before: {client.load_average():.2f}", flush=True)
    with tempfile.TemporaryDirectory(prefix="lanhaven-bench-") as folder:
        bench = Bench(Path(folder), options.litellm, options.quick)
        for name in options.only.split(","):
            PARTS[name](bench)
    print(f"load average after: {client.load_average():.2f}")
    if options.write:
        write(bench.rows)


if __name__ == "__main__":
    main()
