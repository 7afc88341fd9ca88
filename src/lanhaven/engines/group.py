"""Signals to a child and everything it forked: the process group that it leads.

Windows has no groups of this kind: there the child is ended first and its descendants one by one.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import sys

import psutil


def terminate(pid: int, number: int = signal.SIGTERM) -> None:
    """Ask the whole group to end, by this signal. A group that is gone is fine."""
    if sys.platform == "win32":
        kill(pid)
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)


def kill(pid: int) -> None:
    """End the whole group, with no chance to object. A group that is gone is fine."""
    if sys.platform == "win32":
        with contextlib.suppress(psutil.Error):
            leader = psutil.Process(pid)
            for each in (leader, *leader.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    each.kill()
    else:
        # PermissionError is what macOS says of a group of zombies
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


async def gone(pid: int, timeout: float) -> bool:
    """Wait until nothing of the group lives, up to `timeout` seconds; whether that is so.

    The number cannot be given to a stranger while the group has members; a group without members ends the wait.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while _lives(pid):
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(0.01)
    return True


def _lives(pid: int) -> bool:
    if sys.platform == "win32":
        return bool(psutil.pid_exists(pid))
    else:
        try:
            os.killpg(pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return any(_is_member(each, pid) for each in psutil.pids())


def _members(pid: int) -> list[psutil.Process]:
    """The living processes of its group, the leader first."""
    found = []
    with contextlib.suppress(psutil.Error):
        leader = psutil.Process(pid)
        found = [leader]
        if sys.platform == "win32":
            return [leader, *leader.children(recursive=True)]
    for each in psutil.pids():
        if each != pid and _is_member(each, pid):
            with contextlib.suppress(psutil.Error):
                found.append(psutil.Process(each))
    return found


def _is_member(pid: int, group: int) -> bool:
    """A zombie is none: its memory is back, and in a container the first process may never collect it."""
    if sys.platform == "win32":
        return False
    else:
        try:
            return os.getpgid(pid) == group and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except (ProcessLookupError, psutil.Error):
            return False


def memory_of(pid: int) -> int:
    """Bytes of memory that the end of its group would give back; 0 = it is gone.

    Shared pages are counted in part (PSS): two children of one model file share its pages, and adding up resident sizes
    would count them twice. Asking costs the kernel a walk over the page tables: not for the event loop's thread.
    """
    total = 0
    for each in _members(pid):
        with contextlib.suppress(psutil.Error):
            memory = each.memory_full_info()
            total += int(memory.pss if sys.platform == "linux" else memory.uss)
    return total


def listens(pid: int, port: int) -> bool | None:
    """Whether a process of its group listens at this port; None where the system does not tell."""
    asked = False
    for each in _members(pid):
        with contextlib.suppress(psutil.Error):
            sockets = each.net_connections("tcp")
            asked = True
            if any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in sockets):
                return True
    return False if asked else None


def confine(pid: int, seconds: float, size: int | None = None) -> None:
    """From now on each of its group may use so many more seconds of CPU (then SIGXCPU ends it) and, if that is said,
    bytes of memory of its own (then it gets none). Linux only: elsewhere no process can set the limits of another."""
    if sys.platform != "linux":
        return
    for process in _members(pid):
        with contextlib.suppress(psutil.Error, OSError, ValueError):
            times, memory = process.cpu_times(), process.memory_info()
            _limit(process, psutil.RLIMIT_CPU, math.ceil(times.user + times.system + seconds))
            if size is not None:
                _limit(process, psutil.RLIMIT_DATA, memory.data + size)


def release(pid: int) -> None:
    """Take back what `confine` set."""
    if sys.platform == "linux":
        for process in _members(pid):
            with contextlib.suppress(psutil.Error, OSError, ValueError):
                for kind in (psutil.RLIMIT_CPU, psutil.RLIMIT_DATA):
                    _limit(process, kind, psutil.RLIM_INFINITY)


def _limit(process: psutil.Process, kind: int, soft: int) -> None:
    hard = process.rlimit(kind)[1]
    process.rlimit(kind, (soft if hard == psutil.RLIM_INFINITY else min(soft, hard) if soft >= 0 else hard, hard))


def effort_of(pid: int) -> tuple[float, int]:
    """Seconds of CPU used and bytes resident, of the whole group: if neither changes, it is not getting anywhere."""
    seconds, size = 0.0, 0
    for each in _members(pid):
        with contextlib.suppress(psutil.Error):
            times = each.cpu_times()
            seconds += times.user + times.system
            size += int(each.memory_info().rss)
    return seconds, size
