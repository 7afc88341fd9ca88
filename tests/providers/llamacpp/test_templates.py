"""Hostile chat templates on the real engine: the kernel ends a load that gets nowhere, the worker itself a request."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from lanhaven.engines.guard import SPUN
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

LOOP = "{% for i in range(100000000) %}{% for j in range(100000000) %}x{% endfor %}{% endfor %}"
RECURSION = "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}"
# Nothing but computing, in a thread beside, for two seconds of CPU time; what the engine's figures say is the argument.
SPINNER = """
import sys, threading, time
from lanhaven.engines.llamacpp_worker import end_when_spinning
figures = sys.argv[1].split(",")
def spin():
    while True:
        sum(range(1000))
threading.Thread(target=spin, daemon=True).start()
calls = iter(range(10**9))
def metrics():
    if time.process_time() > 2:
        sys.exit(0)
    return figures[next(calls) % len(figures)].replace("/", "\\n")
end_when_spinning(metrics, seconds=0.4)
"""
IDLE = "llamacpp:n_decode_total {}/llamacpp:requests_processing {}/llamacpp:requests_deferred 0"


def models(smollm2: Path, **templates: str) -> str:
    """models.yaml with a model for each template."""
    entries = [
        {
            "id": name,
            "provider": "llama_cpp",
            "config": {"model_path": str(smollm2), "n_ctx": 512, "chat_template": text},
        }
        for name, text in templates.items()
    ]
    return json.dumps({"models": entries})


async def longest_pause(seconds: float = 0.01) -> float:
    """How late the event loop ever was, until this is cancelled."""
    loop, worst = asyncio.get_running_loop(), 0.0
    try:
        while True:
            before = loop.time()
            await asyncio.sleep(seconds)
            worst = max(worst, loop.time() - before - seconds)
    except asyncio.CancelledError:
        return worst


async def refused(house: House, model: str) -> None:
    reply = await house.chat(model=model, max_tokens=2)
    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "template_error"), reply.text
    assert "The chat template of" in reply.json()["error"]["message"]
    assert house.services.pool.ids() == {}


@pytest.mark.req("F-171")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process limit another")
async def test_a_template_that_does_not_end_ends_with_its_engine(tmp_path: Path, smollm2: Path) -> None:
    listed = models(smollm2, loop=LOOP, recursion=RECURSION)
    async with serving(tmp_path, listed, mock=False) as house:
        watch = asyncio.create_task(longest_pause())
        for model in ("loop", "recursion"):
            await refused(house, model)
        watch.cancel()
        assert await watch < 1, "the event loop had nothing to do with it"


@pytest.mark.req("F-171")
async def test_the_limits_are_those_of_the_load_alone(tmp_path: Path, smollm2: Path) -> None:
    async with serving(
        tmp_path, models(smollm2, good="{% for m in messages %}{{ m.content }}{% endfor %}"), mock=False
    ) as house:
        reply = await house.chat("one " * 40, model="good", max_tokens=60)
        assert reply.status_code == 200
        assert reply.json()["usage"]["completion_tokens"] > 0


@pytest.mark.req("F-171")
@pytest.mark.parametrize(
    ("figures", "code"),
    [
        ([IDLE.format(7, 0)], SPUN),
        ([IDLE.format(7, 1)], 0),  # a slot works
        ([IDLE.format(7, 0), IDLE.format(8, 0)], 0),  # one has worked since
    ],
)
def test_a_worker_that_computes_for_nobody_ends(figures: list[str], code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SPINNER, ",".join(figures)], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == code, done.stderr
    assert ("template" in done.stderr) == (code == SPUN)
