"""Checks of the machine: Python, processors, memory, disk, images."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from lanhaven.cli import units
from lanhaven.cli.checks import Check

LEAST_PYTHON = (3, 11)
LITTLE_MEMORY = 10**9
LITTLE_DISK = 10**9
CGROUP = Path("/sys/fs/cgroup")


def all_checks() -> Iterator[Check]:
    """Every check of this file."""
    yield python()
    yield system()
    yield processors(cpu_quota(CGROUP))
    yield load_average()
    yield memory(memory_limit(CGROUP))
    yield images()


def python() -> Check:
    """The interpreter's version."""
    text = f"{platform.python_implementation()} {platform.python_version()}"
    if sys.version_info < LEAST_PYTHON:
        return Check("python", "fail", text, "install Python 3.11 or newer")
    return Check("python", "ok", text)


def system() -> Check:
    """Operating system and processor family."""
    return Check("platform", "ok", f"{platform.system()} {platform.release()}, {platform.machine()}")


def processors(quota: float | None) -> Check:
    """How many threads an engine should get. A container's limit is invisible to programs that count processors."""
    count = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    if quota is not None and quota < count:
        threads = max(1, int(quota))
        text = f"{count} processors, but this container may use {quota:g} of them"
        return Check("processors", "warn", text, f"load models with --threads {threads}")
    return Check("processors", "ok", f"{count} {'processor' if count == 1 else 'processors'}")


def load_average() -> Check:
    """Whether others keep the machine busy: an engine's threads then wait for each other."""
    if sys.platform == "win32":
        return Check("load", "ok", "not told on Windows")
    busy, count = os.getloadavg()[0], os.cpu_count() or 1
    if busy > count:
        text = f"{busy:.1f} on {count} processors: answers will be slow"
        return Check("load", "warn", text, "stop what else keeps the machine busy, or load with fewer --threads")
    return Check("load", "ok", f"{busy:.1f} on {count} processors")


def memory(limit: int | None) -> Check:
    """Memory that models could have."""
    import psutil

    state = psutil.virtual_memory()
    free, total = state.available, state.total
    text = f"{units.size(free)} of {units.size(total)} free"
    if limit is not None and limit < total:
        text += f"; this container may have {units.size(limit)}"
        free = min(free, limit)
    if free < LITTLE_MEMORY:
        return Check("memory", "warn", text, "unload models (lanhaven ps), or close other programs")
    return Check("memory", "ok", text)


def folders(named: Mapping[str, Path]) -> Iterator[Check]:
    """Those of the server's folders, by their settings, that it could neither write nor make."""
    for setting, folder in named.items():
        there = nearest(folder)
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            remedy = f"make {there} writable, or name another folder: LANHAVEN_{setting.upper()}"
            yield Check("folder", "fail", f"{folder} cannot be written", remedy)


def nearest(folder: Path) -> Path:
    """Itself, or what is there of the way to it."""
    return next(each for each in (folder, *folder.parents) if os.path.lexists(each))


def disk(folder: Path) -> Check:
    """Room where fetched models go."""
    there = nearest(folder)
    free = shutil.disk_usage(there).free
    text = f"{units.size(free)} free for {folder}"
    if free < LITTLE_DISK:
        return Check("disk", "warn", text, "make room, or set data_dir to another disk")
    return Check("disk", "ok", text)


def images() -> Check:
    """Whether images can be read."""
    try:
        return Check("images", "ok", f"Pillow {metadata.version('pillow')}")
    except metadata.PackageNotFoundError:
        return Check("images", "warn", "Pillow is not installed: images are refused", 'pip install "lanhaven[vision]"')


def cpu_quota(cgroup: Path) -> float | None:
    """Processors that this container may use (cgroup v2); None = no limit."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):  # no such file, or "max"
        return None


def memory_limit(cgroup: Path) -> int | None:
    """Bytes that this container may have (cgroup v2); None = no limit."""
    try:
        return int((cgroup / "memory.max").read_text())
    except (OSError, ValueError):
        return None
