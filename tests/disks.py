"""Small and unwilling file systems, where the machine lets us mount them (Linux, as root)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """`folder` as a file system of its own of this size ("64k", "4m"); skips the test where that cannot be."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounts a small file system: Linux, as root")
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """The file that takes all the room that is left there."""
    disk, filler = os.statvfs(folder), folder / "filler"
    filler.write_bytes(b"x" * (disk.f_bavail * disk.f_frsize))
    return filler


def make_read_only(folder: Path) -> None:
    """Of a small disk."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
