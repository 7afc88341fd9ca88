"""However the gateway dies, no engine outlives it (P6)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lanhaven.engines.interpreter import module_command
from tests.engines.conftest import FAKE

PARENT = Path(__file__).with_name("parent_program.py")
WORKER = module_command("lanhaven.engines.llamacpp_worker")
PATIENCE = 30.0  # seconds; it takes some hundredths

Orphan = Callable[..., psutil.Process]


@pytest.fixture
def orphaned(folder: Path) -> Iterator[Orphan]:
    """Runs an engine under a parent of its own, kills that parent with SIGKILL, and gives the engine's process."""
    children: list[psutil.Process] = []

    def run(command: list[str], settings: dict[str, Any], mark: str = "", *how: str) -> psutil.Process:
        settings = {"listen": str(folder / "s.sock"), **settings}
        parent = subprocess.Popen(
            [sys.executable, str(PARENT), json.dumps(command), json.dumps(settings), mark, *how],
            env={"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
            stdout=subprocess.PIPE,
        )
        with parent:
            assert parent.stdout is not None
            children.append(psutil.Process(int(parent.stdout.readline())))
            parent.kill()
        return children[-1]

    yield run
    for child in children:
        if child.is_running():
            child.kill()


@pytest.mark.req("F-009", "P6")
def test_a_killed_gateway_takes_its_engine_along(orphaned: Orphan) -> None:
    assert _ends(orphaned(FAKE, {}))


@pytest.mark.req("F-009")
def test_a_child_that_ignores_sigterm_too(orphaned: Orphan) -> None:
    assert _ends(orphaned(FAKE, {"ignore_term": True}))


@pytest.mark.req("F-009")
def test_without_the_kernels_help_the_end_of_the_pipe_is_enough(orphaned: Orphan) -> None:
    """The loop runs outside of the main thread: PDEATHSIG is not set, as on macOS and Windows."""
    assert _ends(orphaned(FAKE, {}, "", "thread"))


@pytest.mark.req("F-009")
def test_without_the_pipe_the_kernels_help_is_enough(orphaned: Orphan) -> None:
    """Nothing in the child can notice the end of the pipe."""
    assert _ends(orphaned(FAKE, {"hold_gil": True}, "holding the GIL"))


@pytest.mark.req("F-009")
@pytest.mark.parametrize("mark", ["", "loading model tensors"])
def test_llama_cpp_loaded_and_in_mid_load(orphaned: Orphan, smollm2: Path, mark: str) -> None:
    """In mid-load it holds the GIL: no thread of its own could end it."""
    assert _ends(orphaned(WORKER, {"model": str(smollm2), "n_ctx": 512, "n_parallel": 1}, mark))


def _ends(process: psutil.Process) -> bool:
    """A zombie has ended, whoever collects it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.01)
    return False
