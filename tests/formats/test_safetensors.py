"""Headers of safetensors files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lanhaven.errors import InvalidModelFile
from lanhaven.formats.safetensors import HEADER_LIMIT, StoredTensor, read_safetensors


def put(folder: Path, header: object, data: bytes = bytes(16)) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = folder / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_tensors_are_found(tmp_path: Path) -> None:
    header = {"__metadata__": {"format": "pt"}, "a": entry("F32", [2, 1], 0, 8), "b": entry("F16", [], 8, 10)}
    begin = 8 + len(json.dumps(header))
    assert dict(read_safetensors(put(tmp_path, header))) == {
        "a": StoredTensor("F32", (2, 1), begin, 8),
        "b": StoredTensor("F16", (), begin + 8, 2),
    }


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"", "malformed"),
        (b"not json", "malformed"),
        (b"[" * 100_000, "malformed"),
        (b'{"a": 1}', "malformed"),
        (b'{"a": \xff}', "malformed"),
        ({"a": entry("F32", [2], 0, 4)}, "malformed"),
        ({"a": entry("F32", [-2], 0, 4)}, "malformed"),
        ({"a": entry("F32", [8], 0, 32)}, "truncated"),
        ({"a": entry("F99", [8], 0, 32)}, "truncated"),
        ({"a": entry("F99", [8], 4, 0)}, "truncated"),
    ],
)
def test_what_is_wrong(tmp_path: Path, header: object, reason: str) -> None:
    with pytest.raises(InvalidModelFile) as caught:
        read_safetensors(put(tmp_path, header))
    assert caught.value.facts["reason"] == reason


def test_an_endless_header_is_not_read(tmp_path: Path) -> None:
    path = put(tmp_path, b"")
    path.write_bytes((HEADER_LIMIT + 1).to_bytes(8, "little"))
    with pytest.raises(InvalidModelFile):
        read_safetensors(path)


@pytest.mark.parametrize("name", ["missing", "."])
def test_what_cannot_be_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidModelFile):
        read_safetensors(tmp_path / name)
