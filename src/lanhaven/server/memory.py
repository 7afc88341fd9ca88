"""How much memory models may still take."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from lanhaven.types.models import Instance, InstanceState

CGROUP = Path("/sys/fs/cgroup")


def free_bytes(cgroup: Path = CGROUP) -> int:
    """Bytes that can be taken without swapping; a container's own limit counts where it is lower than the machine's.

    psutil reads /proc/meminfo, which inside a container shows the host. memory.current counts reclaimable page cache
    (mapped weights!), so inactive_file is given back (kernel docs, admin-guide/cgroup-v2).
    """
    machine = int(psutil.virtual_memory().available)
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        if limit == "max":
            return machine
        used = int((cgroup / "memory.current").read_text())
        stat = dict(line.split(" ", 1) for line in (cgroup / "memory.stat").read_text().splitlines())
        return min(machine, max(0, int(limit) - used + int(stat.get("inactive_file", "0"))))
    except (OSError, ValueError):
        return machine  # no cgroup v2 here


def total_bytes(cgroup: Path = CGROUP) -> int:
    """Memory of this machine, or of the container where that may have less."""
    machine = int(psutil.virtual_memory().total)
    try:
        return min(machine, int((cgroup / "memory.max").read_text()))
    except (OSError, ValueError):
        return machine  # no cgroup v2 here, or no limit ("max")


def held_bytes(instances: Iterable[Instance]) -> int:
    """Bytes that loaded instances hold.

    What still loads, or waits for room, is not among them: the plan for room counts it, and would count it twice.
    """
    held = (InstanceState.READY, InstanceState.DRAINING)
    return sum(each.size_bytes for each in instances if each.state in held)


def within_budget(
    budget: int | None, used: Callable[[], int], free: Callable[[], int] = free_bytes
) -> Callable[[], int]:
    """`free`, bounded by an operator's budget for all models together. `used`: bytes that loaded models take."""
    if budget is None:
        return free
    return lambda: max(0, min(free(), budget - used()))
