"""Framing: however the network cuts a stream, the same frames come out, byte for byte."""

from __future__ import annotations

import itertools
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanhaven.errors import InvalidRequest
from lanhaven.wire import (
    FrameSplitter,
    data_of,
    encode,
    frames_of,
    ndjson,
    read_json,
    read_object,
    read_strict,
    refuse_odd,
    sse,
)

LINE_END = ("\n", "\r\n", "\r")
LINES = st.sampled_from(
    ["data: {}", 'data: {"a":"ü€😀"}', "data:x", "event: error", ": ping", "id: 7", "data: [DONE]", "data"]
)
FRAMES = st.lists(st.lists(LINES, min_size=1, max_size=3), max_size=6)


def naive_events(text: bytes) -> list[list[bytes]]:
    """The reference: all line ends made LF, then lines, then groups of lines between empty ones."""
    lines = re.sub(rb"\r\n|\r", b"\n", text).split(b"\n")
    groups: list[list[bytes]] = [[]]
    for line in lines:
        if line:
            groups[-1].append(line)
        elif groups[-1]:
            groups.append([])
    return [group for group in groups if group]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(ends)]


def passed(data: bytes, places: list[int]) -> tuple[list[bytes], bytes]:
    """What a splitter lets pass of `data` cut at `places`, and what it keeps."""
    splitter = FrameSplitter()
    blocks = [block for piece in cut(data, places) if (block := splitter.feed(piece))]
    return blocks, splitter.rest


@given(FRAMES, st.sampled_from(LINE_END), st.lists(st.integers(0, 10_000), max_size=40))
@pytest.mark.req("F-039")
def test_any_chunking_gives_the_same_frames(frames: list[list[str]], end: str, places: list[int]) -> None:
    data = "".join(end.join([*lines, "", ""]) for lines in frames).encode()
    blocks, rest = passed(data, places)
    assert b"".join(blocks) + rest == data
    assert not rest.strip(b"\r\n")
    assert [event for block in blocks for event in naive_events(block)] == naive_events(data)


@given(FRAMES, st.lists(st.sampled_from(LINE_END), min_size=1), st.lists(st.integers(0, 10_000), max_size=40))
def test_mixed_line_ends_lose_and_join_nothing(frames: list[list[str]], ends: list[str], places: list[int]) -> None:
    turn = itertools.cycle(ends)
    data = "".join(line + next(turn) for lines in frames for line in [*lines, ""]).encode()
    blocks, rest = passed(data, places)
    assert b"".join(blocks) + rest == data
    assert [event for each in [*blocks, rest] for event in naive_events(each)] == naive_events(data)


@given(FRAMES, st.sampled_from(LINE_END))
def test_frames_of_a_block_are_its_events(frames: list[list[str]], end: str) -> None:
    block = "".join(end.join([*lines, "", ""]) for lines in frames).encode()
    split = frames_of(block)
    assert b"".join(split) == block
    assert [naive_events(frame) for frame in split if naive_events(frame)] == [[each] for each in naive_events(block)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_byte_alone(end: bytes) -> None:
    data = b"data: {1}" + end * 2 + b": c" + end * 2 + "data: ü".encode() + end * 2
    splitter = FrameSplitter()
    out = b"".join(splitter.feed(bytes([byte])) for byte in data)
    assert out + splitter.rest == data
    assert naive_events(out) == naive_events(data)


def test_a_frame_passes_as_soon_as_it_is_whole() -> None:
    splitter = FrameSplitter()
    assert splitter.feed(b"data: a\n") == b""
    assert splitter.feed(b"\ndata: b\n\nda") == b"data: a\n\ndata: b\n\n"
    assert splitter.rest == b"da"
    assert splitter.feed(b"ta: c\n\n") == b"data: c\n\n"


@pytest.mark.req("F-040")
def test_a_begun_frame_over_the_limit_is_refused() -> None:
    splitter = FrameSplitter(limit=10)
    assert splitter.feed(b"data: 1234") == b""
    with pytest.raises(ValueError, match="longer than the limit"):
        splitter.feed(b"5")


@pytest.mark.parametrize(
    ("frame", "data"),
    [
        (b"data: a\n\n", b"a"),
        (b"data:a\r\n\r\n", b"a"),
        (b"data:  a\n\n", b" a"),
        (b"event: x\ndata: a\ndata: b\n\n", b"a\nb"),
        (b"data:\n\n", b""),
        (b": comment\n\n", None),
        (b"event: done\n\n", None),
    ],
)
def test_data_of(frame: bytes, data: bytes | None) -> None:
    assert data_of(frame) == data


def test_writers() -> None:
    assert sse(b"{}") == b"data: {}\n\n"
    assert sse(b"{}", "ping") == b"event: ping\ndata: {}\n\n"
    assert ndjson(b"{}") == b"{}\n"


def test_json_is_one_line_for_whoever_splits_it() -> None:
    """httpx, and with it Ollama's library, cuts lines by `str.splitlines`."""
    text = {"text": "a\u2028b\u2029c\x85d\x0b\x0c\x1c\u2019e\n\r"}
    for written in (ndjson(encode(text)), sse(encode(text))[len("data: ") : -1]):
        (line,) = written.decode().splitlines()
        assert json.loads(line) == text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{} {}",
        b"NaN",
        b'{"a":1e999}',
        b'"\\ud800"',
        b'"\xff"',
        b"[" * 100_000,
        b"{'a':1}",
        b"1" * 5000 + b"x",
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="not valid JSON"):
        read_json(body)


@pytest.mark.req("F-124")
def test_more_parts_than_a_body_may_have_are_not_decoded() -> None:
    read_json(b"[" + b"[]," * 1000 + b"[]]")
    for body in (b"[" + b"[]," * (1 << 20) + b"[]]", b'{"a":[' + b"{}," * (1 << 20) + b"{}]}"):
        for read in (read_json, refuse_odd):
            with pytest.raises(InvalidRequest, match="objects and lists"):
                read(body)


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def test_depth() -> None:
    read_json(nested(64))
    with pytest.raises(InvalidRequest, match="64 levels"):
        read_json(nested(65))
    read_json(b"[" + b"[]," * 200 + b"[]]")


def test_read_object() -> None:
    assert read_object(b'{"a":[1]}') == {"a": [1]}
    with pytest.raises(InvalidRequest, match="object"):
        read_object(b"[]")


NAMES = st.text('ab :,"\\{}\n', max_size=4)


@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=5), st.sampled_from(["", " ", "\n\t"]))
def test_a_field_that_stands_twice_is_seen_whatever_blanks_there_are(pairs: list[tuple[str, str]], blank: str) -> None:
    fields = [f"{blank}{json.dumps(name)}{blank}:{blank}{json.dumps(value)}" for name, value in pairs]
    body = f"{{{','.join(fields)}{blank}}}".encode()
    if len(dict(pairs)) == len(pairs):
        assert read_strict(body) == dict(pairs)
    else:
        with pytest.raises(InvalidRequest, match="twice"):
            read_strict(body)
