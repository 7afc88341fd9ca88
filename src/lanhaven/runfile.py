"""The note a running server leaves for the command line of the same user: where it listens, and a key to come in.

`state_dir/server.json`, readable by its owner only, written in one piece, removed at exit. A file left behind by a
server that died is recognised by its process and read as "no server".
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

FILE_NAME = "server.json"

# A process is made before it writes its file; the clock it is compared by may be corrected a little in between.
CLOCK_SLACK = 5.0


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A running server. `token` is an admin key that is valid for this run only: never shown, never logged."""

    url: str
    pid: int
    token: str
    version: str
    started_at: str  # ISO 8601 with its zone, as events.utc_now() writes it
    ca: str | None = None  # of an HTTPS server: the file that says what to trust

    def __repr__(self) -> str:
        return f"RunInfo({self.url} pid={self.pid} version={self.version} since {self.started_at})"


def state_folder() -> Path:
    """Where a server of this user leaves its note: LANHAVEN_STATE_DIR, else the platform's place.

    A `state_dir` in config.yaml is not looked up: reading it would cost every command 0.3 s.
    """
    from lanhaven.config.environ import environment
    from lanhaven.config.places import state_dir

    named = environment().get("LANHAVEN_STATE_DIR", "")
    return Path(named).expanduser() if named else state_dir()


def write(state_dir: Path, info: RunInfo) -> Path:
    """Leave the note, replacing an older one; returns its path. OSError if the folder cannot be written."""
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    record = {
        "url": info.url,
        "pid": info.pid,
        "token": info.token,
        "version": info.version,
        "startedAt": info.started_at,
        **({"ca": info.ca} if info.ca else {}),
    }
    handle, name = tempfile.mkstemp(dir=state_dir, prefix=FILE_NAME)  # made with mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(record, file)
        Path(name).replace(state_dir / FILE_NAME)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return state_dir / FILE_NAME


def read(state_dir: Path) -> RunInfo | None:
    """The server that runs now; None if there is no note, or the process that wrote it is gone."""
    info = _read_file(state_dir / FILE_NAME)
    return info if info is not None and _runs(info) else None


def remove(state_dir: Path, pid: int) -> None:
    """Take the note away, if it is still the one of process `pid` (a newer server may have written its own)."""
    path = state_dir / FILE_NAME
    info = _read_file(path)
    if info is not None and info.pid == pid:
        with suppress(OSError):
            path.unlink()


def _read_file(path: Path) -> RunInfo | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return RunInfo(
            url=str(record["url"]),
            pid=int(record["pid"]),
            token=str(record["token"]),
            version=str(record["version"]),
            started_at=str(record["startedAt"]),
            ca=str(record["ca"]) if "ca" in record else None,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _runs(info: RunInfo) -> bool:
    """Whether the process lives and is old enough: a process that got the same id later is another one."""
    import psutil  # 20 ms that `--help` must not pay

    try:
        started = datetime.fromisoformat(info.started_at).timestamp()
        process = psutil.Process(info.pid)
        alive = process.status() != psutil.STATUS_ZOMBIE
        return bool(alive and process.create_time() <= started + CLOCK_SLACK)
    except (ValueError, psutil.NoSuchProcess):
        return False
    except psutil.AccessDenied:
        return True
