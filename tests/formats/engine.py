"""Asks a real llama.cpp, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from lanhaven.config import engine_environment

ENGINE = pytest.mark.skipif(find_spec("xllamacpp") is None, reason="xllamacpp is not installed")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the child saw: bytes it took after the last answer, and the answers."""

    memory: int
    answers: list[Any]


def ask(model: Path, path: str, bodies: list[dict[str, Any]], **params: Any) -> Seen:
    settings = {"model": str(model), "path": path, "bodies": bodies, **params}
    child = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("engine_child.py")), json.dumps(settings)],
        env=engine_environment({}),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-2000:]
    return Seen(**json.loads(child.stdout.splitlines()[-1]))
