"""A child's life: started, watched, ended, with all that can go wrong on the way."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from lanhaven.engines.probe import answers
from lanhaven.engines.process import Trial
from lanhaven.errors import (
    EngineCrashed,
    EngineHung,
    GatewayError,
    LoadFailed,
    ProviderUnavailable,
    TemplateError,
)
from tests.children import own_children
from tests.engines.conftest import QUICK, STRICT, Make

pytestmark = pytest.mark.anyio


class Gone:
    """What `on_gone` was told."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.told = asyncio.Event()

    def __call__(self, error: Exception) -> None:
        self.errors.append(error)
        self.told.set()


async def test_starts_answers_and_ends(engine: Make) -> None:
    gone = Gone()
    process = engine(on_gone=gone)
    ready = await process.start()
    assert ready["event"] == "ready"
    assert process.address is not None
    assert await answers(process.address, "", 2)
    await process.stop()
    await process.stop()
    assert process.returncode == -signal.SIGTERM
    assert gone.errors == []
    assert repr(process) == f"EngineProcess(tiny pid={process.pid} ended rc=-15)"


async def test_what_the_child_writes_out_is_log_and_not_protocol(engine: Make) -> None:
    process = engine()
    await process.start()
    assert "output goes to the log" in process.log()


@pytest.mark.req("P6", "F-007")
async def test_a_child_that_ignores_sigterm_is_killed(engine: Make) -> None:
    process = engine("ignore_term")
    await process.start()
    await process.stop()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.req("F-008")
@pytest.mark.parametrize("end", ["stop", "crash"])
async def test_what_a_child_forked_ends_with_it(engine: Make, folder: Path, end: str) -> None:
    note = folder / "grandchild"
    gone = Gone()
    process = engine(fork=str(note), on_gone=gone)
    await process.start()
    grandchild = psutil.Process(int(note.read_text()))
    if end == "crash" and process.pid is not None:
        os.kill(process.pid, signal.SIGSEGV)
        await asyncio.wait_for(gone.told.wait(), 60)
    await process.stop()
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE


@pytest.mark.req("F-001", "F-016")
async def test_a_kill_that_is_not_ours_hints_at_memory(engine: Make) -> None:
    gone = Gone()
    process = engine(on_gone=gone)
    await process.start()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    await asyncio.wait_for(gone.told.wait(), 60)
    (error,) = gone.errors
    assert isinstance(error, EngineCrashed)
    assert error.message == "The engine of tiny was ended by SIGKILL."
    assert "out of memory" in (error.hint or "")
    assert not process.alive


async def test_a_crash_says_which_signal_and_no_more(engine: Make) -> None:
    gone = Gone()
    process = engine(on_gone=gone)
    await process.start()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSEGV)
    await asyncio.wait_for(gone.told.wait(), 60)
    (error,) = gone.errors
    assert isinstance(error, EngineCrashed)
    assert (error.message, error.hint) == ("The engine of tiny was ended by SIGSEGV.", None)
    assert error.facts == {"exit_code": -signal.SIGSEGV}


@pytest.mark.req("F-005")
async def test_a_stopped_child_is_found_hung_and_ended(engine: Make) -> None:
    gone = Gone()
    process = engine(timers=STRICT, on_gone=gone)
    await process.start()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    await asyncio.wait_for(gone.told.wait(), 60)
    (error,) = gone.errors
    assert isinstance(error, EngineHung)
    await process.stop()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(("spin", "probes"), [(False, 3), (True, 6)])
async def test_a_child_at_work_may_leave_more_probes_unanswered(engine: Make, spin: bool, probes: int) -> None:
    gone = Gone()
    timers = replace(STRICT, probe_misses=3, probe_misses_busy=6)
    process = engine(mute_after=1, spin=spin, timers=timers, on_gone=gone)
    await process.start()
    await asyncio.wait_for(gone.told.wait(), 60)
    assert isinstance(gone.errors[0], EngineHung)
    assert process.log().count("unanswered") == probes


@pytest.mark.req("F-006")
async def test_a_child_stopped_while_loading_is_found_hung(engine: Make) -> None:
    process = engine("never", status=503, timers=STRICT, on_effort=lambda: None)
    start = asyncio.ensure_future(process.start())
    while process.address is None or not await answers(process.address, "", 1):  # noqa: ASYNC110 - the child says nothing
        await asyncio.sleep(0.02)
    await asyncio.sleep(2 * QUICK.probe_every)  # one probe must have had its answer
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(EngineHung, match="stopped answering"):
        await asyncio.wait_for(start, 60)
    assert process.returncode == -signal.SIGKILL or not process.alive


@pytest.mark.req("P5")
async def test_a_load_without_progress_ends(engine: Make) -> None:
    process = engine("never", listen=None, timers=replace(QUICK, load_stall=0.3))
    with pytest.raises(EngineHung, match=r"no progress for 0.3 seconds"):
        await process.start()


@pytest.mark.req("P5")
async def test_a_load_that_is_busy_for_too_long_ends(engine: Make) -> None:
    process = engine("never", timers=replace(QUICK, load_total=0.5))
    with pytest.raises(LoadFailed, match=r"longer than 0.5 seconds"):
        await process.start()
    assert not process.alive


async def test_effort_of_a_silent_load_is_told(engine: Make) -> None:
    told = asyncio.Event()
    process = engine("never", allocate=30_000_000, on_effort=told.set)
    start = asyncio.ensure_future(process.start())
    await asyncio.wait_for(told.wait(), 60)
    await process.stop()
    with pytest.raises(LoadFailed, match="was unloaded while it was loading"):
        await start


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fail": "Failed to init server."}, "tiny could not be loaded: Failed to init server."),
        ({"leave": 3}, "tiny could not be loaded: the engine ended with code 3 and gave no reason."),
        (
            {"fail": "Failed", "write": "0.00.021.510 E srv  load_model: no room for '/a/b c/m.gguf'\n"},
            "tiny could not be loaded: load_model: no room for 'm.gguf'.",
        ),
        ({"leave": 1, "write": "ValueError: no such thing\n"}, "tiny could not be loaded: ValueError: no such thing."),
    ],
)
async def test_a_failed_load_gives_the_engines_reason(engine: Make, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(LoadFailed) as caught:
        await engine(**settings).start()
    assert caught.value.message == message


@pytest.mark.req("F-003")
async def test_a_child_killed_while_loading_is_a_crash(engine: Make) -> None:
    process = engine("never")
    start = asyncio.ensure_future(process.start())
    while process.pid is None:  # noqa: ASYNC110 - nothing else tells
        await asyncio.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(EngineCrashed, match="was ended by SIGKILL while loading"):
        await start


@pytest.mark.req("F-014")
@pytest.mark.parametrize("program", ["absent", "not executable", "not a program"])
async def test_a_program_that_cannot_run_is_named(engine: Make, folder: Path, program: str) -> None:
    path = folder / "engine"
    if program != "absent":
        path.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(60))
        path.chmod(0o700 if program == "not a program" else 0o600)
    with pytest.raises(ProviderUnavailable, match="tiny cannot be started: "):
        await engine(command=[str(path)]).start()


@pytest.mark.req("F-010")
async def test_started_on_order_of_a_thread_that_ends(engine: Make) -> None:
    """PDEATHSIG belongs to the thread that spawns. That is the loop's, whoever asks."""
    process = engine()
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def order() -> None:
        asyncio.run_coroutine_threadsafe(process.start(), loop).add_done_callback(
            lambda started: loop.call_soon_threadsafe(done.set)
        )

    thread = threading.Thread(target=order)
    thread.start()
    await asyncio.to_thread(thread.join)
    await done.wait()
    assert process.address is not None
    assert await answers(process.address, "", 2)


@pytest.mark.req("F-010")
@pytest.mark.parametrize("main", [True, False])
async def test_only_the_main_thread_binds_a_child_to_its_own_life(engine: Make, main: bool) -> None:
    process = engine()

    async def bound() -> bool:
        ready = await process.start()
        await process.stop()
        return bool(ready["bound"])

    assert (await bound() if main else await asyncio.to_thread(_run, bound())) is main


def _run(work: Coroutine[Any, Any, bool]) -> bool:
    return asyncio.run(work)


@pytest.mark.req("F-011")
async def test_a_flood_of_log_is_bounded_and_stops_nobody(engine: Make) -> None:
    flooded = asyncio.Event()
    process = engine(flood=16_000_000, on_line=lambda line: flooded.set() if line == "FLOODED" else None)
    await process.start()
    before = psutil.Process().memory_info().rss
    answered = 0
    assert process.address is not None
    while not flooded.is_set():
        assert await answers(process.address, "", 60)
        answered += 1
        await asyncio.sleep(0)
    assert answered > 1
    assert psutil.Process().memory_info().rss - before < 20_000_000
    assert len(process.log()) <= 1000
    assert max(map(len, process.log())) <= 1000


@pytest.mark.parametrize("turns", range(0, 30, 3))
async def test_cancelled_anywhere_nothing_is_left(engine: Make, turns: int) -> None:
    start = asyncio.ensure_future(engine("ignore_term").start())
    for _ in range(turns):
        await asyncio.sleep(0)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert not own_children()


@pytest.mark.req("F-018")
async def test_memory_is_told_and_comes_back(engine: Make) -> None:
    process = engine(allocate=64_000_000)
    await process.start()
    assert 64_000_000 < await process.memory() < 160_000_000
    await process.stop()
    assert await process.memory() == 0
    assert process.pid is not None
    assert not psutil.pid_exists(process.pid)


async def test_the_ring_of_a_dead_engine_is_still_read(engine: Make) -> None:
    process = engine(write="last words\n", leave=1)
    with pytest.raises(GatewayError):
        await process.start()
    assert "last words" in process.log()


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process limit another")


@linux_only
@pytest.mark.req("F-171")
async def test_a_template_that_is_tried_before_all_else_gets_little_cpu(engine: Make) -> None:
    process = engine("spin", "never", trial=Trial(("loading model",), seconds=0.5))
    with pytest.raises(TemplateError, match="was ended by SIGXCPU"):
        await process.start()


@linux_only
async def test_what_loads_gets_all_the_cpu_that_it_takes(engine: Make) -> None:
    limits: list[int] = []

    def look(line: str) -> None:
        if process.pid is not None and line in ("trying", "loading model"):
            limits.append(psutil.Process(process.pid).rlimit(psutil.RLIMIT_CPU)[0])

    process = engine(write="trying\nloading model\n", on_line=look, trial=Trial(("loading model",), seconds=60))
    await process.start()
    assert limits[0] > 0
    assert limits[1] == psutil.RLIM_INFINITY
