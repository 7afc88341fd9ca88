"""The ring of log lines: complete when it can be, bounded always."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lanhaven.engines.log import LineSplitter, LogRing


@given(st.lists(st.binary(max_size=40)))
def test_lines_do_not_depend_on_how_the_bytes_come(pieces: list[bytes]) -> None:
    ring, whole = LogRing(), LogRing()
    for piece in pieces:
        ring.feed(piece)
    whole.feed(b"".join(pieces))
    ring.close()
    whole.close()
    assert ring.lines() == whole.lines()


def test_lines_and_the_rest_without_a_newline() -> None:
    ring = LogRing()
    ring.feed(b"one\r\ntwo\nth")
    assert ring.lines() == ("one", "two")
    ring.feed(b"ree")
    ring.close()
    assert ring.lines() == ("one", "two", "three")


def test_the_oldest_lines_go_first() -> None:
    ring = LogRing(lines=2)
    ring.feed(b"one\ntwo\nthree\n")
    assert ring.lines() == ("two", "three")


def test_a_line_is_cut_and_the_next_one_is_whole() -> None:
    ring = LogRing(width=5)
    for _ in range(3):
        ring.feed(b"xxxx")
    ring.feed(b"\nnext\n")
    assert ring.lines() == ("xxxxx", "next")
    assert ring.dropped == 7


def test_a_crowded_read_keeps_both_ends() -> None:
    ring = LogRing()
    ring.feed(b"begun ")
    ring.feed(b"".join(b"line %d\n" % n for n in range(10_000)) + b"rest")
    ring.feed(b" of it\n")
    lines = ring.lines()
    assert lines[:2] == ("begun line 0", "line 1")
    assert lines[-2:] == ("line 9999", "rest of it")
    assert 100 < len(lines) < 200
    assert ring.dropped > 50_000


def test_a_crowded_read_of_few_lines_keeps_them_all() -> None:
    ring = LogRing(width=10)
    ring.feed(b"a" * 40_000 + b"\nb\n" + b"c" * 40_000 + b"\n")
    assert ring.lines() == ("a" * 10, "b", "c" * 10)


def test_no_line_can_steer_a_terminal() -> None:
    ring = LogRing()
    ring.feed(b"\x1b[2Jgone\x07\tok \xff\n")
    assert ring.lines() == ("\ufffd[2Jgone\ufffd\tok \ufffd",)


def test_what_is_not_admitted_is_not_kept() -> None:
    heard: list[str] = []
    ring = LogRing(heard.append, admit=lambda line: None if "secret" in line else line.upper())
    ring.feed(b"a\nsecret\nb\n")
    assert ring.lines() == ("A", "B")
    assert heard == ["a", "secret", "b"]


def test_listeners_hear_each_line() -> None:
    heard: list[str] = []
    splitter = LineSplitter(heard.append, 100)
    splitter.feed(b"a\n\nb\n")
    splitter.close()
    assert heard == ["a", "", "b"]
