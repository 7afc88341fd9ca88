"""The mlx engine beside mlx-lm's `batch_generate` in one process and beside `mlx_lm.server`, in turns on one model."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import string
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import psutil
import uvloop

from bench.own import Unobserved, packed
from bench.peers import free_port, started, wait_for
from lanhaven.providers.base import ModelEntry, ProviderContext
from lanhaven.providers.registry import create
from lanhaven.types.models import LoadConfig
from tests.mlx.models import kept_smollm2

if TYPE_CHECKING:
    from bench.run import Bench

ROOT = Path(__file__).parent.parent
ENVIRONMENT = ".tools/mlx/env"
YARDSTICK = Path(__file__).with_name("mlx_batch.py")
GOAL = 0.95
MARKS = string.digits + string.ascii_letters + string.punctuation
WORKER = "lanhaven.engines.mlx.worker"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a turn took: tokens of all answers, seconds, seconds of CPU."""

    tokens: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds


@dataclass(frozen=True, slots=True)
class Engine:
    """One of those that are compared. `ask`: prompts and tokens of each answer -> tokens of all answers."""

    pid: int
    ask: Callable[[Sequence[str], int], Awaitable[int]]

    async def take(self, prompts: Sequence[str], tokens: int) -> Cost:
        before, start = self._cpu(), time.perf_counter()
        made = await self.ask(prompts, tokens)
        return Cost(made, time.perf_counter() - start, self._cpu() - before)

    def _cpu(self) -> float:
        times = psutil.Process(self.pid).cpu_times()
        return times.user + times.system


def mlx(bench: Bench) -> None:
    """Tokens a second of 1 and of 4 requests at once, prompts included; each turn has prompts that nobody has seen."""
    subprocess.run(
        ["scripts/setup", "--quiet", "--other", ENVIRONMENT, "tests/mlx/requirements.lock"], cwd=ROOT, check=True
    )
    model = kept_smollm2(packed("smollm2"))
    uvloop.run(_measure(bench, ROOT / ENVIRONMENT / "bin/python", model))


async def _measure(bench: Bench, python: Path, model: Path) -> None:
    turns, tokens = (3, 12) if bench.quick else (15, 16)  # many short turns: other work on the machine comes in waves
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lhb", dir="/tmp")))
        provider = create("mlx", ProviderContext("mlx", folder, {"python": str(python), "prompt_cache_mib": 0}))
        config = {"model_path": str(model)}
        info = replace(provider.describe(ModelEntry("smol", "mlx", config=config)), config=config)
        child = (await provider.load(info, "smol", LoadConfig(slots=4), Unobserved())).upstream
        port, log = free_port(), bench.folder / "mlx.log"
        command = [str(python), "-m", "mlx_lm", "server", "--model", str(model), "--port", str(port)]
        server = stack.enter_context(started(command, log, HF_HUB_OFFLINE="1", GOMP_SPINCOUNT="1000"))
        wait_for(f"http://127.0.0.1:{port}/health", server, 60)
        yardstick = stack.enter_context(_yardstick(python, model))
        transport = httpx2.AsyncHTTPTransport(uds=child.socket)
        async with (
            httpx2.AsyncClient(
                transport=transport, base_url="http://engine", headers=child.headers, timeout=600
            ) as own,
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=600, trust_env=False) as other,
        ):
            peers = {
                "LanHaven": Engine(_child_of(os.getpid()), lambda *asked: _over_http(own, *asked)),
                "batch_generate": Engine(
                    yardstick.pid, lambda *asked: asyncio.to_thread(_in_process, yardstick, *asked)
                ),
                "mlx_lm.server": Engine(server.pid, lambda *asked: _over_http(other, *asked)),
            }
            marks = iter(MARKS)
            for count in (1, 4):
                _tell(bench, count, await _turns(peers, turns, count, tokens, marks))
        await provider.aclose()


def _child_of(pid: int) -> int:
    (found,) = (each.pid for each in psutil.Process(pid).children() if WORKER in each.cmdline())
    return found


async def _turns(
    peers: dict[str, Engine], turns: int, count: int, tokens: int, marks: Iterator[str]
) -> list[dict[str, Cost]]:
    """What every turn cost; the first, which warms all up, is left out. Who begins changes from turn to turn.

    `marks`: a first token for each prompt, so that nobody's prompt cache knows even the beginning of one.
    """
    costs = []
    for turn in range(turns + 1):
        prompts = [f"{next(marks)} Once upon a time, in a land far away, there" for _ in range(count)]
        names = list(peers)
        order = names[turn % len(names) :] + names[: turn % len(names)]
        costs.append({name: await peers[name].take(prompts, tokens) for name in order})
    return costs[1:]


def _tell(bench: Bench, count: int, costs: list[dict[str, Cost]]) -> None:
    """The goal is in tokens/s. The CPU time is told beside: other work on the machine hardly changes it."""
    for other, least in (("batch_generate", GOAL), ("mlx_lm.server", 1.0)):
        faster = statistics.median(each[other].seconds / each["LanHaven"].seconds for each in costs)
        cheaper = statistics.median(each[other].cpu / each["LanHaven"].cpu for each in costs)
        ours, theirs = (statistics.median(each[name].rate for each in costs) for name in ("LanHaven", other))
        bench.add(
            f"MLX on the CPU, {count} at once, tokens/s against {other}",
            f"{ours:.1f} of {theirs:.1f} ({faster:.2f}; by CPU time {cheaper:.2f}; {len(costs)} turns)",
            f"at least {least:.2f}",
            faster >= least,
        )


def _yardstick(python: Path, model: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [python, "-P", YARDSTICK, model],  # not beside this file, which is called mlx as well
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "GOMP_SPINCOUNT": "1000"},
    )  # fmt: skip


def _in_process(process: subprocess.Popen[str], prompts: Sequence[str], tokens: int) -> int:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps({"prompts": prompts, "tokens": tokens}) + "\n")
    process.stdin.flush()
    return int(json.loads(process.stdout.readline())["tokens"])


async def _over_http(client: httpx2.AsyncClient, prompts: Sequence[str], tokens: int) -> int:
    async def one(prompt: str) -> int:
        body: dict[str, Any] = {"prompt": prompt, "max_tokens": tokens, "temperature": 0}
        reply = await client.post("/v1/completions", json=body)
        reply.raise_for_status()
        return int(reply.json()["usage"]["completion_tokens"])

    return sum(await asyncio.gather(*map(one, prompts)))
