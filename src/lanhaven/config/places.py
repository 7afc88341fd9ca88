"""Where files lie."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from platformdirs import PlatformDirs

APP = "lanhaven"
# A unix socket's path holds at most 107 bytes (sun_path, 103 on macOS); names of sockets take the rest.
LONGEST_RUN_DIR = 70

_DIRS = PlatformDirs(APP, appauthor=False)


def config_dir() -> Path:
    """For config.yaml and models.yaml."""
    return _DIRS.user_config_path


def data_dir() -> Path:
    """For the database and models that were fetched."""
    return _DIRS.user_data_path


def state_dir() -> Path:
    """For logs and what must survive a restart."""
    return _DIRS.user_state_path


def cache_dir() -> Path:
    """For what can be made again."""
    return _DIRS.user_cache_path


def run_dir(environment: Mapping[str, str]) -> Path:
    """For sockets and the lock: short, one per user; made 0700 by whoever uses it."""
    mine = f"{APP}-{os.getuid()}" if os.name == "posix" else APP
    given = environment.get("XDG_RUNTIME_DIR", "")
    candidates = [Path(tempfile.gettempdir(), mine), Path("/tmp", mine)]  # noqa: S108 - 0700 and its owner are checked on use
    if given.startswith("/") and Path(given).is_dir():
        candidates.insert(0, Path(given, APP))
    return next((path for path in candidates if len(os.fsencode(path)) <= LONGEST_RUN_DIR), candidates[-1])


def absolute(value: object) -> Path:
    """An absolute path; "~" is the home folder. ValueError where there is none."""
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError(f"{value!r} is not a path")
    expanded = Path(os.path.expanduser(value))  # noqa: PTH111 - Path.expanduser raises RuntimeError without a home
    if str(expanded).startswith("~"):
        raise ValueError(f"{value} is in a home folder that does not exist: set HOME, or give the full path")
    return expanded.absolute()
