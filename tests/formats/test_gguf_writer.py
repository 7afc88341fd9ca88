"""What the writer writes, the reference reader reads."""

from __future__ import annotations

import struct
from array import array
from pathlib import Path

import pytest

from lanhaven.formats.gguf import read_header
from lanhaven.formats.gguf_source import Skipped
from lanhaven.formats.gguf_writer import F16, F32, Field, NewTensor, write_gguf

METADATA: dict[str, Field] = {
    "general.architecture": "bert",
    "a.bool": True,
    "a.int": 7,
    "a.float": 0.5,
    "a.text": "größer",
    "a.texts": ["x", "", "yz"],
    "a.numbers": array("i", [-1, 2]),
}


def tensors() -> list[NewTensor]:
    return [
        NewTensor("f32", (3, 5), F32, [struct.pack("<15f", *range(15))]),
        NewTensor("f16", (2, 3), F16, iter([struct.pack("<2e", 1, 2), struct.pack("<4e", 3, 4, 5, 6)])),
        NewTensor("one", (1,), F32, [struct.pack("<f", 9)]),
    ]


def write(path: Path, new: list[NewTensor]) -> list[int]:
    with path.open("wb") as out:
        return list(write_gguf(out, METADATA, new))


def test_the_reference_reads_it(tmp_path: Path) -> None:
    import gguf as reference

    path = tmp_path / "new.gguf"
    written = write(path, tensors())
    assert written == sorted(written)
    assert written[-1] == path.stat().st_size
    read = reference.GGUFReader(path)
    assert {key: read.get_field(key).contents() for key in METADATA} == {**METADATA, "a.numbers": [-1, 2]}
    assert [(tensor.name, tensor.shape.tolist(), tensor.data.tolist()) for tensor in read.tensors] == [
        ("f32", [3, 5], [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11], [12, 13, 14]]),
        ("f16", [2, 3], [[1, 2], [3, 4], [5, 6]]),
        ("one", [1], [9]),
    ]


def test_our_reader_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "new.gguf"
    write(path, tensors())
    header = read_header(path)
    assert dict(header.metadata) == {**METADATA, "a.texts": ("x", "", "yz"), "a.numbers": (-1, 2)}
    assert not any(isinstance(value, Skipped) for value in header.metadata.values())
    assert [tensor.offset for tensor in header.tensors] == [0, 64, 96]


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a", tensors())
    write(tmp_path / "b", tensors())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("data", [b"", bytes(8), bytes(16)])
def test_a_tensor_of_the_wrong_size_is_noticed(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ValueError, match="tensor a has"):
        write(tmp_path / "a", [NewTensor("a", (3,), F32, [data])])
