from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lanhaven.config import atomic
from lanhaven.errors import InternalError, Overloaded, StorageFull
from tests.disks import small_disk


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_a_new_file_is_for_its_user_alone_and_no_other_file_stays(nothing_said: Path) -> None:
    path = nothing_said / "new" / "a.yaml"
    atomic.write_text(path, "é: 1\r\n")
    assert path.read_bytes() == "é: 1\r\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(path.parent) == ["a.yaml"]


def test_the_mode_and_a_link_stay(nothing_said: Path) -> None:
    real, link = nothing_said / "real.yaml", nothing_said / "link.yaml"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to("real.yaml")
    atomic.write_text(link, "new")
    assert link.is_symlink()
    assert (real.read_text(), stat.S_IMODE(real.stat().st_mode)) == ("new", 0o640)


@pytest.mark.req("F-173")
def test_a_full_disk_leaves_the_old_file(nothing_said: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = nothing_said / "a.yaml"
    path.write_text("old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull, match="No space left on device") as refusal:
        atomic.write_text(path, "new")
    assert refusal.value.facts["errno"] == errno.ENOSPC
    assert refusal.value.hint
    assert path.read_text() == "old"
    assert names(nothing_said) == ["a.yaml"]


@pytest.mark.req("F-173")
def test_a_disk_that_is_really_full(nothing_said: Path) -> None:
    with small_disk(nothing_said / "disk", "64k") as disk:
        path = disk / "a.yaml"
        path.write_text("old")
        with pytest.raises(StorageFull, match="No space left on device"):
            atomic.write_text(path, "x" * 200_000)
        assert path.read_text() == "old"
        assert names(disk) == ["a.yaml"]


def test_a_folder_that_cannot_be_made_is_told(nothing_said: Path) -> None:
    (nothing_said / "file").write_text("")
    for act in (
        lambda: atomic.write_text(nothing_said / "file" / "a.yaml", "x"),
        lambda: locked(nothing_said / "file" / "a.yaml"),
    ):
        with pytest.raises(InternalError, match=r"a\.yaml could not be written"):
            act()


def locked(path: Path, wait: float = 10.0) -> None:
    with atomic.locked(path, wait=wait):
        pass


def test_writers_take_turns(nothing_said: Path) -> None:
    path = nothing_said / "count"
    path.write_text("0")

    def count() -> None:
        for _ in range(25):
            with atomic.locked(path):
                atomic.write_text(path, str(int(path.read_text()) + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() == "100"


def test_a_lock_that_another_process_holds_is_waited_for_and_then_told(nothing_said: Path) -> None:
    path = nothing_said / "a.yaml"
    program = (
        "import sys, pathlib; from lanhaven.config import atomic\n"
        "with atomic.locked(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    paths = {"PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=paths) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Overloaded, match="edited by another process"):
            locked(path, wait=0.05)
        holder.kill()  # a lock does not outlive its process
    locked(path)
