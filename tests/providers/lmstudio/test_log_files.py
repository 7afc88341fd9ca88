"""LM Studio's log as it lies on the disk: days, rotation, months, files that are cut, half lines, odd bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanhaven.providers.lmstudio.log_files import LONGEST, MONTHS_EVERY, Added, LogFiles


class Clock:
    """Seconds that only the test lets pass."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Log:
    """The folder that LM Studio writes in, and who follows it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()

    def write(self, name: str, data: bytes | str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(data if isinstance(data, bytes) else data.encode())
        return path

    def follow(self) -> LogFiles:
        return LogFiles(self.folder, self.clock)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "server-logs")


FIRST = "2025-07/2025-07-19.1.log"


def test_only_what_is_added_is_read(log: Log) -> None:
    log.write("2025-06/2025-06-30.1.log", "long ago\n")
    log.write(FIRST, "before\n")
    files = log.follow()
    assert files.poll() == Added()
    log.write(FIRST, "one\r\ntwo\nthr")
    assert files.poll().lines == ("one", "two")
    log.write(FIRST, "ee\n")
    assert files.poll().lines == ("three",)
    assert files.poll() == Added()


def test_a_line_that_was_being_written_is_passed_over(log: Log) -> None:
    log.write(FIRST, "the prompt ")
    files = log.follow()
    log.write(FIRST, "goes on\nwhole\n")
    assert files.poll().lines == ("whole",)


@pytest.mark.req("S0-x10")
def test_rotation_and_days(log: Log) -> None:
    log.write("2025-07/2025-07-19.9.log", "x\n")
    files = log.follow()
    log.write("2025-07/2025-07-19.9.log", "last\n")
    log.write("2025-07/2025-07-19.10.log", "tenth\n")
    log.write("2025-07/2025-07-20.1.log", "next day\n")
    assert [files.poll().lines for _ in range(4)] == [("last",), ("tenth",), ("next day",), ()]


@pytest.mark.req("S0-x10")
def test_months_are_looked_for_every_ten_minutes(log: Log) -> None:
    log.write("2025-07/2025-07-31.1.log", "x\n")
    files = log.follow()
    log.write("2025-08/2025-08-01.1.log", "august\n")
    assert files.poll() == Added()
    log.clock.now += MONTHS_EVERY
    assert files.poll() == Added(("august",), "2025-07", "2025-08")
    assert files.poll() == Added()


def test_a_file_that_is_cut_or_replaced_is_read_anew(log: Log) -> None:
    path = log.write(FIRST, "a long line\n")
    files = log.follow()
    path.write_bytes(b"cut\n")
    assert files.poll().lines == ("cut",)
    path.unlink()
    assert files.poll() == Added()
    other = log.write("2025-07/other", "replaced, and longer than before\n")
    other.rename(path)
    assert files.poll().lines == ("replaced, and longer than before",)


def test_a_log_that_is_not_there_yet(log: Log) -> None:
    files = log.follow()
    assert files.poll() == Added()
    (log.folder / "2025-07").mkdir(parents=True)
    assert files.poll() == Added()
    log.write(FIRST, "the first\n")
    assert files.poll().lines == ("the first",)


def test_strangers_in_the_folder(log: Log) -> None:
    log.write(FIRST, "")
    log.write("2025-07/notes.txt", "x\n")
    log.write("2025-07/2025-07-99.x.log", "x\n")
    log.write("2026-01", "a file in place of a folder\n")
    files = log.follow()
    log.clock.now += MONTHS_EVERY
    assert files.poll() == Added()


def test_odd_bytes(log: Log) -> None:
    log.write(FIRST, "")
    files = log.follow()
    log.write(FIRST, b"\xef\xbb\xbfgr\xc3")
    assert files.poll().lines == ()
    log.write(FIRST, b"\xbc\xc3\x9fe\n\xff\x00\n")
    assert files.poll().lines == ("grüße", "\ufffd\x00")


def test_a_line_without_an_end_is_not_kept(log: Log) -> None:
    """A body with pictures is one line of megabytes."""
    log.write(FIRST, "")
    files = log.follow()
    log.write(FIRST, b"x" * (LONGEST + 1))
    assert files.poll().lines == ()
    log.write(FIRST, b"y\nnext\n")
    assert files.poll().lines == ("next",)
