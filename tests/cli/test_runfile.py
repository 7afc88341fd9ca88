"""The note that a running server leaves."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lanhaven import runfile
from lanhaven.runfile import RunInfo

LATER = "2100-01-01T00:00:00.000Z"
EARLIER = "2001-01-01T00:00:00.000Z"


def info(pid: int, started_at: str = LATER) -> RunInfo:
    return RunInfo("http://127.0.0.1:8002", pid, "secret-token", "0.1.0", started_at)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    mine = info(os.getpid())
    path = runfile.write(tmp_path / "state", mine)
    assert runfile.read(tmp_path / "state") == mine
    assert [each.name for each in path.parent.iterdir()] == ["server.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files are POSIX's")
def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = runfile.write(tmp_path / "state", info(os.getpid()))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_token_is_not_in_its_repr() -> None:
    assert "secret-token" not in repr(info(1))


def test_no_file(tmp_path: Path) -> None:
    assert runfile.read(tmp_path) is None
    runfile.remove(tmp_path, 1)


def test_a_dead_process_means_no_server(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    runfile.write(tmp_path, info(process.pid))
    assert runfile.read(tmp_path) is None


@pytest.mark.skipif(sys.platform == "win32", reason="zombies are POSIX's")
def test_a_process_that_nobody_has_buried_means_no_server(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    runfile.write(tmp_path, info(process.pid))
    assert runfile.read(tmp_path) is None
    process.wait()


def test_a_process_born_after_the_file_is_another_one(tmp_path: Path) -> None:
    runfile.write(tmp_path, info(os.getpid(), EARLIER))
    assert runfile.read(tmp_path) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"url": "http://x"}', '{"url": 1, "pid": "x", "token": "", "version": ""}']
)
def test_a_damaged_file_means_no_server(tmp_path: Path, text: str) -> None:
    (tmp_path / "server.json").write_text(text)
    assert runfile.read(tmp_path) is None


def test_only_ones_own_file_is_removed(tmp_path: Path) -> None:
    path = runfile.write(tmp_path, info(os.getpid()))
    runfile.remove(tmp_path, os.getpid() + 1)
    assert path.exists()
    runfile.remove(tmp_path, os.getpid())
    assert not path.exists()
