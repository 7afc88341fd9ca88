"""Engines that misbehave on order, and the proof that nothing is left of them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from lanhaven.config import engine_environment
from lanhaven.engines.interpreter import module_environment
from lanhaven.engines.llamacpp_log import LAST_LINE, reason
from lanhaven.engines.probe import Address
from lanhaven.engines.process import EngineProcess, Plan, Timers, Trial
from tests.children import own_children

FAKE = [sys.executable, "-P", str(Path(__file__).with_name("fake_engine.py"))]
# Patient with a child that is well: this process may stand still for a second, and every probe comes too late then.
QUICK = Timers(load_total=60, load_stall=60, probe_every=0.05, probe_timeout=60, terminate=0.3, reap=60)
STRICT = replace(QUICK, probe_timeout=0.2)  # for children that answer no more

Make = Callable[..., EngineProcess]


@pytest.fixture
def folder() -> Any:
    """A folder whose name is short enough for unix sockets."""
    with TemporaryDirectory(prefix="lh") as name:
        yield Path(name)


@pytest.fixture
async def engine(folder: Path) -> AsyncIterator[Make]:
    """Makes engine processes from behaviours of fake_engine.py; at the end each of them is gone, and its socket too."""
    made: list[EngineProcess] = []

    def make(
        *behaviours: str,
        command: list[str] | None = None,
        timers: Timers = QUICK,
        on_line: Callable[[str], None] | None = None,
        on_effort: Callable[[], None] | None = None,
        on_gone: Callable[[Exception], None] | None = None,
        trial: Trial | None = None,
        **settings: object,
    ) -> EngineProcess:
        address = Address(str(folder / f"{len(made)}.sock"))
        plan = Plan(
            "tiny",
            FAKE if command is None else command,
            {**dict.fromkeys(behaviours, True), "listen": address.socket, **settings},
            module_environment(engine_environment({})),
            folder,
            address=address,
            last_line=LAST_LINE if command is not None else None,
            trial=trial,
        )
        made.append(
            EngineProcess(plan, timers=timers, explain=reason, on_line=on_line, on_effort=on_effort, on_gone=on_gone)
        )
        return made[-1]

    yield make
    for process in made:
        await process.stop()
        assert not process.alive
    assert not own_children()
    assert not await asyncio.to_thread(lambda: list(folder.glob("*.sock")))
