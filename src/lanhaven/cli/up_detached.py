"""`up --detach`: the server in the background, told of as in the foreground until it is ready.

The server is started as a process in a session of its own, which no terminal's end reaches, and writes to this terminal
itself: progress, banner, failures. When it is ready it says so through a pipe and lets go of the terminal.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lanhaven.cli import output
from lanhaven.cli.failure import CliError, Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from lanhaven.server import ServerInfo

READY = b"ready"
LAST_WORDS = "logs/server.err"  # in the state folder


def start() -> int:
    """Run this very command again, in the background; returns its exit status if it fails, 0 once it is ready."""
    if sys.platform == "win32":
        raise CliError(
            "on Windows a server cannot be sent into the background",
            "packaging/windows/install-task.ps1    (starts it when you log in)",
            "lanhaven up",
            status=Exit.USAGE,
        )
    reading, writing = os.pipe()
    command = [sys.executable, *sys.orig_argv[1:], "--ready-pipe", str(writing)]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(writing,), start_new_session=True)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as pipe:
            if pipe.read(len(READY)) == READY:
                server.returncode = 0  # not ours any more: else Python warns of a child that is still running
                return Exit.DONE
        return _failed(server.wait())
    except KeyboardInterrupt:
        with suppress(ProcessLookupError):
            server.terminate()
        server.wait()
        raise


def letting_go(pipe: int, state_dir: Path, show: Callable[[ServerInfo], None]) -> Callable[[ServerInfo], None]:
    """What the server in the background does when it is ready: `show`, leave the terminal, and say so."""
    os.set_inheritable(pipe, False)  # uvloop's subprocesses get what is inheritable, and hold it longer than we live

    def ready(info: ServerInfo) -> None:
        with suppress(OSError):  # the terminal may have gone already
            show(info)
        _leave_terminal(state_dir / LAST_WORDS)
        os.write(pipe, READY)
        os.close(pipe)

    return ready


def _leave_terminal(last_words: Path) -> None:
    """From here on the log's file is the log, which is bounded; what else is written, as by a crash, is in a file that
    each start begins anew."""
    from lanhaven.server.logs import leave_stderr

    leave_stderr()
    try:
        file = os.open(last_words, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError:
        file = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
        os.dup2(file, stream.fileno())
    os.close(file)


def _failed(status: int) -> int:
    """It ended before it was ready, and has told why, unless somebody ended it."""
    if status > 0:
        return status
    how = f"was ended by {signal.Signals(-status).name}" if status else "was stopped"
    output.fail(CliError(f"the server {how} before it was ready", "lanhaven up", "lanhaven doctor"))
    return Exit.FAILED
