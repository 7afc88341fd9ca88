"""Writing a file so that a reader, a crash or a full disk never meets half of it (F-173), and one writer at a time."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lanhaven.errors import GatewayError, InternalError, Overloaded, StorageFull

LOCK_WAIT = 10.0  # seconds; an edit takes far less than one
_POLL = 0.02


def write_text(path: Path, text: str) -> None:
    """Replace the file's content. A link stays a link, the mode stays; a new file is 0600, for it may hold keys.

    StorageFull or InternalError with errno in its facts where the disk refuses; the old file is then untouched.
    """
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".new")
    except OSError as error:
        raise refused(path, error) from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            Path(name).chmod(target.stat().st_mode & 0o7777)
        Path(name).replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise refused(path, error) from error
    finally:
        with suppress(OSError):  # gone after the replace; otherwise nothing may be left behind
            Path(name).unlink(missing_ok=True)


@contextmanager
def locked(path: Path, wait: float = LOCK_WAIT) -> Iterator[None]:
    """Hold the file for one read-change-write, among threads and processes. Blocks up to `wait` seconds.

    The lock is a file beside it, because the file itself is replaced by every write. Overloaded where it stays taken.
    """
    target = Path(os.path.realpath(path))
    lock = target.with_name(f".{target.name}.lock")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise refused(path, error) from error
    try:
        deadline = time.monotonic() + wait
        while not try_lock(handle):
            if time.monotonic() >= deadline:
                raise Overloaded(f"{path.name} is being edited by another process", hint="try again in a moment")
            time.sleep(_POLL)
        yield
    finally:
        os.close(handle)  # gives the lock back


def refused(path: Path, error: OSError) -> GatewayError:
    """The error for a disk that does not take the file."""
    kind = StorageFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else InternalError
    return kind(
        f"{path.name} could not be written: {error.strerror}",
        hint=f"make room on the disk, or check the permissions of {path.parent}",
        facts={"file": path.name, "errno": error.errno},
    )


def _sync_folder(folder: Path) -> None:
    """Make the rename itself last through a power cut, where folders can be synced."""
    if os.name != "posix":
        return
    with suppress(OSError):  # some file systems refuse to sync a folder; the file is whole all the same
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


if sys.platform == "win32":
    import msvcrt

    def try_lock(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def try_lock(handle: int) -> bool:
        """Take the lock of an open file, if nobody has it: the operating system frees it when its holder dies."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
