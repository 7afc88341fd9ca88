"""A reranker made of MiniLM: its tensors, and a small head that gives one score for a text.

The head reads a few numbers of the first token. It has learnt nothing: its scores are the same on every run, and differ
from text to text, which is all that tests of a route need.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from lanhaven.formats.gguf import read_header
from lanhaven.formats.gguf_writer import F32, Field, NewTensor, write_gguf

_RANK = 4  # llama_pooling_type
_WIDTH = 384
_SCALARS = {4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q"}


def write_reranker(minilm: Path, out: Path) -> Path:
    """The file."""
    header = read_header(minilm)
    with minilm.open("rb") as file:
        metadata: dict[str, Field] = {**_metadata(file), "bert.pooling_type": _RANK}
    tensors = [
        NewTensor(each.name, each.dimensions, each.type, _bytes(minilm, header.data_offset + each.offset, each.size))
        for each in header.tensors
    ]
    with out.open("wb") as file:
        list(write_gguf(file, metadata, [*tensors, *_head()]))
    return out


def _head() -> list[NewTensor]:
    identity = array("f", (float(row == column) for row in range(_WIDTH) for column in range(_WIDTH)))
    weights = array("f", (((index * 37) % 101 - 50) / 50 for index in range(_WIDTH)))
    return [
        NewTensor("cls.weight", (_WIDTH, _WIDTH), F32, [identity.tobytes()]),
        NewTensor("cls.bias", (_WIDTH,), F32, [bytes(4 * _WIDTH)]),
        NewTensor("cls.output.weight", (_WIDTH, 1), F32, [weights.tobytes()]),
        NewTensor("cls.output.bias", (1,), F32, [bytes(4)]),
    ]


def _bytes(path: Path, offset: int, size: int | None) -> Iterator[bytes]:
    assert size is not None
    with path.open("rb") as file:
        file.seek(offset)
        yield file.read(size)


def _metadata(file: BinaryIO) -> dict[str, Any]:
    """All of it, tokens too, which LanHaven's own reader skips."""
    _, _, _, count = struct.unpack("<4sIQQ", file.read(24))
    return {_text(file): _value(file, _number(file, "<I")) for _ in range(count)}


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == 8:
        return _text(file)
    if kind == 9:
        item, count = _number(file, "<I"), _number(file, "<Q")
        if item == 8:
            return [_text(file) for _ in range(count)]
        return array("i", file.read(4 * count))
    return _number(file, _SCALARS[kind])


def _number(file: BinaryIO, form: str) -> Any:
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def _text(file: BinaryIO) -> str:
    return file.read(_number(file, "<Q")).decode()
