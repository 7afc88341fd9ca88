"""Wheels and source distributions hold the built dashboard, and are made without Node.js; none is made without it unseen."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.packaging.tools import build_packages

ROOT = Path(__file__).resolve().parents[2]
PAGE = "src/lanhaven/server/ui"
FILES = {"index.html", "icon.svg", "assets/index-abc.js"}
pytestmark = pytest.mark.timeout(240)  # where the build tools are not there yet, another set-up may be under way


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """As git has it, as far as a build reads it: .gitignore names the page."""
    root = tmp_path / "checkout"
    (root / "scripts").mkdir(parents=True)
    (root / "src/lanhaven/server").mkdir(parents=True)
    for name in (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        ".gitignore",
        "scripts/hatch_page.py",
        "src/lanhaven/__init__.py",
    ):
        shutil.copyfile(ROOT / name, root / name)
    (root / "src/lanhaven/server/__init__.py").touch()
    return root


def page_of(root: Path) -> None:
    for name in FILES:
        file = root / PAGE / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)


def build(root: Path, target: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """By hatchling alone; nothing of Node.js is on the path."""
    environment = {"PYTHONPATH": str(build_packages()), "PATH": "/nowhere", **variables}
    words = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(root / "made")]
    return subprocess.run(
        words, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=60
    )  # fmt: skip


def held(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as file:
        return {name.partition("server/ui/")[2] for name in file.namelist() if "server/ui/" in name}


def test_wheel_and_source_hold_the_page_and_the_source_makes_the_same_wheel(checkout: Path) -> None:
    page_of(checkout)
    for target in ("wheel", "sdist"):
        done = build(checkout, target)
        assert done.returncode == 0, done.stderr
    assert held(next((checkout / "made").glob("*.whl"))) == FILES
    with tarfile.open(next((checkout / "made").glob("*.tar.gz"))) as file:
        file.extractall(checkout / "unpacked", filter="data")
    (source,) = (checkout / "unpacked").iterdir()
    assert build(source, "wheel").returncode == 0
    assert held(next((source / "made").glob("*.whl"))) == FILES


def test_without_the_page_there_is_no_wheel_unless_somebody_wants_that(checkout: Path) -> None:
    for target in ("wheel", "sdist"):
        refused = build(checkout, target)
        assert refused.returncode != 0
        assert "scripts/page builds it" in refused.stdout + refused.stderr
        assert not list(checkout.glob("made/*"))
    assert build(checkout, "wheel", LANHAVEN_BUILD_WITHOUT_PAGE="1").returncode == 0
    assert held(next((checkout / "made").glob("*.whl"))) == set()
