"""The tools that make packages, by their lock."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def build_packages() -> Path:
    """The folder of their modules."""
    folder = ".tools/packaging"
    done = subprocess.run(
        ["scripts/setup", "--quiet", "--other", folder, "requirements-build.lock"],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return next((ROOT / folder).glob("lib/python*/site-packages"))
