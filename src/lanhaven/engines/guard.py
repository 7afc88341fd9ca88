"""What an engine's child does for itself before anything else: it never outlives the gateway, and it dies first.

Runs in the child. Two independent cords tie it to the gateway, because each has a hole: on Linux the kernel kills it
when the gateway ends (but only after `prctl` was called), and everywhere a thread ends it when the pipe on its standard
input closes (but not while native code holds the GIL, which llama.cpp does for the whole load).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1  # linux/prctl.h
OOM_SCORE = 500  # added to the share of memory in thousandths: the kernel takes the engine before the gateway
SPUN = 87  # exit code: it computed for long without working on any request
LINE_LIMIT = 4 << 20  # a settings line holds a chat template at most


def read_line(fd: int) -> bytes:
    """The one line that the gateway writes to `fd`, without its newline. EOFError if the pipe ends before it does."""
    line = bytearray()
    while not line.endswith(b"\n"):
        if len(line) > LINE_LIMIT or not (data := os.read(fd, 65536)):
            raise EOFError("no complete settings line")
        line += data
    return bytes(line[:-1])


class Parent:
    """The child's end of the line to the gateway: JSON lines go out on what was standard output.

    Standard output itself becomes standard error, so that a library that prints cannot break the protocol.
    """

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def settings(self) -> dict[str, Any]:
        """The settings line, with the guards set up that it asks for (`parent`, `die_with_parent`).

        Ends the process if the gateway is gone already.
        """
        try:
            settings: dict[str, Any] = json.loads(read_line(0))
        except EOFError:
            os._exit(0)
        limit()
        if settings["die_with_parent"]:
            die_with(settings["parent"])
        threading.Thread(target=_exit_at_eof, args=(0,), name="stdin", daemon=True).start()
        return settings

    def say(self, event: str, **facts: object) -> None:
        """One protocol line; a gateway that is gone is the guards' business."""
        with contextlib.suppress(OSError):
            self._out.write(json.dumps({"event": event, **facts}) + "\n")
            self._out.flush()


def limit() -> None:
    """No core dumps (a dump holds prompts and fills disks), first choice of the OOM killer, Ctrl-C ends at once."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform != "win32":
        import resource

        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))


def die_with(parent: int) -> None:
    """SIGKILL when the thread that started us exits: so the gateway asks for it only from its main thread (F-010)."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the call: the signal will never come
        os._exit(0)


def _exit_at_eof(fd: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(fd, 65536):
            pass
    os._exit(0)
