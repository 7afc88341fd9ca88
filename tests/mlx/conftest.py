"""MLX for real, on whatever machine this is: an environment of its own, and models made here.

The environment is made by scripts/setup from requirements.lock beside this file, into .tools/mlx; that takes seconds
where the packages are in uv's cache. It does not belong into the project's own environment: it is larger than all else.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from lanhaven.types.models import Upstream
from tests.mlx import models
from tests.mlx.engine import load, provider
from tests.mlx.seeing import seeing_mlx

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ".tools/mlx"
LOCK = "tests/mlx/requirements.lock"


def _environment() -> Path:
    done = subprocess.run(
        ["scripts/setup", "--quiet", "--other", f"{FOLDER}/env", LOCK],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return ROOT / FOLDER / "env/bin/python"


def pytest_collection_finish(session: pytest.Session) -> None:
    """Make it before the first test: that may last longer than a test may. Where it fails, the fixture says so."""
    items = [item for item in session.items if isinstance(item, pytest.Function)]
    if not session.config.getoption("collectonly") and any("mlx_python" in item.fixturenames for item in items):
        with suppress(AssertionError, subprocess.TimeoutExpired):
            _environment()


@pytest.fixture(scope="session")
def mlx_python() -> Path:
    """An interpreter that has mlx-lm. Never skipped but where there is no mlx: on Windows."""
    if sys.platform == "win32":
        pytest.skip("there is no mlx for Windows")
    return _environment()


@pytest.fixture(scope="session")
def smol(smollm2: Path) -> Path:
    """The folder of a chat model: SmolLM2 in bfloat16; some 10 tokens a second on a CPU."""
    return models.kept_smollm2(smollm2)


@pytest.fixture(scope="session")
def tiny(smol: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that says nonsense quickly, in the words of SmolLM2; its template knows tools."""
    return models.tiny_mlx(smol, tmp_path_factory.mktemp("mlx") / "tiny")


@pytest.fixture(scope="session")
def seeing(smol: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that says which colours it sees."""
    return seeing_mlx(smol, tmp_path_factory.mktemp("mlx") / "seeing")


@pytest.fixture(scope="module")
async def upstream(mlx_python: Path, tiny: Path) -> AsyncIterator[Upstream]:
    """A running instance of the tiny model: four slots, 512 tokens."""
    async with provider(mlx_python) as made:
        loaded, _ = await load(made, tiny)
        yield loaded.upstream
