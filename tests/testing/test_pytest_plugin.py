"""The fixture, in a project of somebody else."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

CONFTEST = 'pytest_plugins = ["lanhaven.testing.pytest_plugin"]\n'
TESTS = """\
import httpx2
import pytest


def ids(studio):
    return [each["id"] for each in httpx2.get(f"{studio.base_url}/models").json()["data"]]


def test_default(mock_lmstudio):
    assert ids(mock_lmstudio) == ["mock-chat", "mock-embedding"]
    mock_lmstudio.reply("left over")


@pytest.mark.mock_lmstudio("qwen3-4b", api_key="k" * 32)
def test_marked(mock_lmstudio):
    assert httpx2.get(f"{mock_lmstudio.base_url}/models").status_code == 401
    assert mock_lmstudio.requests == ()
"""


def test_the_fixture_in_another_project(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    words = [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-W", "error", "-p", "no:cacheprovider"]
    done = subprocess.run([*words, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_who_does_not_ask_for_it_is_not_disturbed() -> None:
    assert [each for each in entry_points(group="pytest11") if each.value.startswith("lanhaven")] == []


def test_nothing_heavy_is_imported_before_a_start() -> None:
    code = "import sys, lanhaven.testing; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"pydantic", "fastapi", "uvicorn", "pytest", "httpx2"} & set(done.stdout.split()) == set()
