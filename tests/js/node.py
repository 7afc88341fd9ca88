"""Node.js and Chromium: where they are, and running programs and suites with them.

Where one is missing, its tests are skipped loudly on a developer's machine and fail where CI is set.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "clients/js"
OLDEST = 18
PATIENCE = 50.0  # seconds that nothing here comes near


@cache
def node() -> str:
    """The program, new enough."""
    path = shutil.which("node")
    if path is None:
        _missing("Node.js is not installed")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").partition(".")[0]) < OLDEST:
        _missing(f"Node.js is {version}, and {OLDEST} is needed")
    return path


@cache
def chromium() -> str:
    """The browser."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        _missing("Chromium is not installed")
    return path


def _missing(what: str) -> NoReturn:
    text = f"THE JAVASCRIPT CLIENT IS NOT TESTED: {what}. On Debian: sudo apt install nodejs npm chromium"
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)


def environment(**settings: str) -> dict[str, str]:
    """For programs that talk to loopback only: nothing of the tester's but the path."""
    return {"PATH": os.environ["PATH"], "NO_COLOR": "1", **settings}


def run(*words: str, cwd: Path, settings: Mapping[str, str] | None = None, patience: float = PATIENCE) -> str:
    """A program of Node's, to its end, which must be a success; what it wrote."""
    done = subprocess.run(
        [node(), *words], cwd=cwd, env=environment(**(settings or {})), capture_output=True, text=True,
        timeout=patience, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"node {' '.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout


def suite(path: Path, claimed: pytest.Mark | None, patience: float = PATIENCE, **settings: str) -> None:
    """Run a file of tests. Each row that the Python test claims must stand in the title of a test that passed."""
    # The order of reporters and their forms differ between versions of Node.js; TAP is the same in all.
    written = run("--test", "--test-reporter=tap", str(path), cwd=CLIENT, settings=settings, patience=patience)
    passed = re.findall(r"^\s*ok \d+ - (?!.*# SKIP)(.+)$", written, re.MULTILINE)
    rows = {row for title in passed for row in title.partition(": ")[0].split()}
    assert len(passed) > 3, written
    assert set(claimed.args if claimed else ()) <= rows, "a row is claimed that no test in this file names"


def install(folder: Path) -> None:
    """What the folder's lock file says, by npm, unless it is there already."""
    node()
    if shutil.which("npm") is None:
        _missing("npm is not installed")
    lock, installed = folder / "package-lock.json", folder / "node_modules/.package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    done = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"npm ci failed in {folder}:\n{done.stdout}{done.stderr}"
