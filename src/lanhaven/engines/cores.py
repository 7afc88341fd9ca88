"""How many threads an engine should compute with."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import psutil

CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def physical_cores(limit_file: Path = CGROUP_LIMIT) -> int:
    """Physical cores that this process may use: at most those it is bound to and those its container pays for.

    Second threads of a core gain nothing for llama.cpp; threads beyond a container's share spin against each other.
    """
    usable = _bound_to()
    physical = psutil.cpu_count(logical=False) or usable
    return max(1, min(physical, usable, _quota(limit_file)))


def _bound_to() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _quota(limit_file: Path) -> int:
    """cgroup v2: "max 100000" (no limit) or "200000 100000" (microseconds per period)."""
    try:
        quota, period = limit_file.read_text().split()
        return math.ceil(int(quota) / int(period)) or 1
    except (OSError, ValueError, ZeroDivisionError):
        return sys.maxsize
