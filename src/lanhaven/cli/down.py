"""`down`: stop the server that this user runs on this machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from lanhaven.cli import output
from lanhaven.cli.connection import Json, state_folder
from lanhaven.cli.failure import CliError, Exit

if TYPE_CHECKING:
    from psutil import Process

LOOK = 0.05  # seconds between two looks
MOMENT = 1.0  # seconds: as long as it takes where nothing is under way; two signals at once would be one


def down(
    force: Annotated[bool, typer.Option("--force", help="Do not wait for requests under way: end them.")] = False,
    json: Json = False,
) -> None:
    """Stop the server that runs on this machine. Requests under way may finish first, unless --force."""
    import psutil

    from lanhaven import runfile

    running = runfile.read(state_folder())
    if running is None:
        raise CliError("no server of yours runs on this machine", "lanhaven status", status=Exit.UNREACHABLE)
    try:
        _stop(psutil.Process(running.pid), force=force)
    except psutil.NoSuchProcess:
        pass  # it was quicker
    except psutil.AccessDenied:
        raise CliError(
            f"process {running.pid} is not yours to stop", "stop it as who started it", status=Exit.UNAUTHORISED
        ) from None
    if json:
        output.document({"url": running.url, "pid": running.pid, "stopped": True})
    else:
        output.message(f"stopped: {running.url} (process {running.pid})")


def _stop(process: Process, *, force: bool) -> None:
    """As Ctrl-C at its terminal would, a second one at once. Our own Ctrl-C leaves; the server stops all the same."""
    process.terminate()
    if _gone(process, MOMENT):
        return
    if force:
        process.terminate()
    else:
        output.message("waiting for requests under way; lanhaven down --force ends them")
    _gone(process, None)


def _gone(process: Process, patience: float | None) -> bool:
    """Wait for the end of a process that is not our child. One whose parent has not looked yet (a zombie) has ended."""
    import psutil

    begun = time.monotonic()
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if patience is not None and time.monotonic() - begun > patience:
            return False
        time.sleep(LOOK)
    return True
