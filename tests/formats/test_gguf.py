"""Headers are read right, and whatever is wrong with a file has its one word."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from lanhaven.errors import InvalidModelFile
from lanhaven.formats.gguf import MAX_TENSORS, read_header
from lanhaven.formats.gguf_source import LONGEST_TEXT, MAX_TEXTS, Reason, Skipped, Source, open_regular
from tests.formats.gguf_files import (
    ARRAY,
    BOOL,
    F32,
    F64,
    I8,
    I32,
    I64,
    TEXT,
    U8,
    U16,
    U32,
    U64,
    array,
    field,
    gguf,
    put,
    tensor,
)

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX file types")


def reason_of(path: Path) -> str:
    with pytest.raises(InvalidModelFile) as caught:
        read_header(path)
    assert caught.value.code == "invalid_model_file"
    assert path.name not in caught.value.message
    return str(caught.value.facts["reason"])


def test_it_reads_what_the_reference_reader_reads(minilm: Path) -> None:
    import gguf as reference

    expected = reference.GGUFReader(minilm)
    header = read_header(minilm)
    assert [
        (tensor.name, list(tensor.dimensions), tensor.type, header.data_offset + tensor.offset, tensor.size)
        for tensor in header.tensors
    ] == [
        (tensor.name, tensor.shape.tolist(), int(tensor.tensor_type), tensor.data_offset, tensor.n_bytes)
        for tensor in expected.tensors
    ]
    scalars = {key: value for key, value in header.metadata.items() if not isinstance(value, Skipped)}
    assert {key: expected.get_field(key).contents() for key in scalars} == pytest.approx(scalars)
    assert header.length("tokenizer.ggml.tokens") == 30522


def test_a_chat_model_in_full(smollm2: Path) -> None:
    header = read_header(smollm2)
    assert (header.version, len(header.tensors), header.alignment) == (3, 272, 32)
    assert header.file_size == smollm2.stat().st_size == header.data_offset + sum(t.size or 0 for t in header.tensors)
    assert header.text("general.architecture") == "llama"
    assert header.integer("llama.block_count") == 30
    assert header.flag("tokenizer.ggml.add_bos_token") is False
    assert header.metadata["general.languages"] == ("en",)
    assert header.metadata["tokenizer.ggml.merges"] == Skipped(48900)
    assert sum(t.elements for t in header.tensors) == 134_515_008


def test_every_value_type(tmp_path: Path) -> None:
    fields = {
        "a": field(U8, 255),
        "b": field(I8, -1),
        "c": field(U16, 65535),
        "d": field(U64, 1 << 63),
        "e": field(I64, -(1 << 62)),
        "f": field(F32, 0.5),
        "g": field(F64, 0.1),
        "h": field(BOOL, True),
        "i": field(TEXT, "größer"),
        "j": field(TEXT, b"\xff"),
        "k": array(BOOL, [True, False]),
        "l": array(TEXT, ["x", "y"]),
        "m": array(I32, [-1, 2]),
    }
    header = read_header(put(tmp_path, gguf(fields)))
    assert list(header.metadata.values()) == [
        *(255, -1, 65535, 1 << 63, -(1 << 62), 0.5, 0.1, True, "größer", "\ufffd"),
        *((True, False), ("x", "y"), (-1, 2)),
    ]
    assert header.integer("b") is None  # negative
    assert header.integer("h") is None  # a bool
    assert header.integers("m") is None
    assert header.integers("k") == (1, 0)
    assert header.flag("a") is None
    assert header.text("missing") is None
    assert header.length("l") == 2


def test_long_values_are_skipped_not_kept(tmp_path: Path) -> None:
    fields = {
        "scores": array(F32, [0.0] * 5000),
        "tokens": array(TEXT, ["token"] * 5000),
        "novel": field(TEXT, "x" * (LONGEST_TEXT + 1)),
        "after": field(U32, 7),
    }
    header = read_header(put(tmp_path, gguf(fields)))
    assert header.metadata == {
        "scores": Skipped(5000),
        "tokens": Skipped(5000),
        "novel": Skipped(LONGEST_TEXT + 1),
        "after": 7,
    }


def test_values_across_the_borders_of_blocks(tmp_path: Path) -> None:
    """Blocks are 1 MiB: strings of odd lengths put a length prefix across several borders."""
    tokens = [b"t" * (7 + number % 13) for number in range(200_000)]
    header = read_header(put(tmp_path, gguf({"tokens": array(TEXT, tokens), "after": field(TEXT, "here")})))
    assert header.metadata == {"tokens": Skipped(200_000), "after": "here"}


@pytest.mark.parametrize(("alignment", "offset"), [(32, 32), (64, 64), (4096, 4096)])
def test_alignment(tmp_path: Path, alignment: int, offset: int) -> None:
    raw = gguf({"general.alignment": field(U32, alignment)}, [tensor("a", [8], offset=offset)])
    header = read_header(put(tmp_path, raw + bytes(2 * alignment + offset)))
    assert header.data_offset % alignment == 0
    assert header.alignment == alignment


def test_a_tensor_type_of_the_future_is_left_to_the_engine(tmp_path: Path) -> None:
    header = read_header(put(tmp_path, gguf({}, [tensor("a", [8], kind=99)], data=bytes(64))))
    assert header.tensors[0].size is None


TENSOR = tensor("a", [8])
WRONG = {
    "empty": (b"", Reason.EMPTY),
    "three bytes": (b"GGU", Reason.NOT_GGUF),
    "text": (b"This is not a model.\n" * 20, Reason.NOT_GGUF),
    "zip": (b"PK\x03\x04" + bytes(60), Reason.NOT_GGUF),
    "magic only": (b"GGUF", Reason.TRUNCATED),
    "counts missing": (b"GGUF" + struct.pack("<I", 3), Reason.TRUNCATED),
    "version 0": (gguf(version=0), Reason.VERSION),
    "version 1": (gguf(version=1), Reason.VERSION),
    "version 4": (gguf(version=4), Reason.VERSION),
    "big endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), Reason.BIG_ENDIAN),
    "keys beyond counting": (gguf(key_count=1 << 63), Reason.OVER_LIMIT),
    "tensors beyond counting": (gguf(tensor_count=1 << 63), Reason.OVER_LIMIT),
    "keys missing": (gguf(key_count=9), Reason.TRUNCATED),
    "tensors missing": (gguf(tensor_count=9), Reason.TRUNCATED),
    "endless key": (gguf([(b"", struct.pack("<Q", 1 << 62))]), Reason.MALFORMED),
    "key not utf-8": (gguf([(b"\xff\xfe", field(U8, 1))]), Reason.MALFORMED),
    "key twice": (gguf([("a", field(U8, 1)), ("a", field(U8, 2))]), Reason.MALFORMED),
    "endless text": (gguf({"a": struct.pack("<IQ", TEXT, 1 << 63)}), Reason.TRUNCATED),
    "text over the end": (gguf({"a": struct.pack("<IQ", TEXT, 100) + b"short"}), Reason.TRUNCATED),
    "type 13": (gguf({"a": struct.pack("<I", 13) + bytes(8)}), Reason.MALFORMED),
    "array of type 13": (gguf({"a": array(U8, []).replace(bytes(4), bytes([13, 0, 0, 0]), 1)}), Reason.MALFORMED),
    "array in array": (gguf({"a": struct.pack("<IIQ", ARRAY, ARRAY, 1) + bytes(64)}), Reason.MALFORMED),
    "endless array": (gguf({"a": array(F64, [], 1 << 63)}), Reason.TRUNCATED),
    "endless texts": (gguf({"a": array(TEXT, [], 1 << 63)}), Reason.OVER_LIMIT),
    "texts missing": (gguf({"a": array(TEXT, ["x"], 1000)}), Reason.TRUNCATED),
    "text in an array over the end": (
        gguf({"a": array(TEXT, ["x"] * 99, 100) + struct.pack("<Q", (1 << 64) - 1)}),
        Reason.TRUNCATED,
    ),
    "alignment 0": (gguf({"general.alignment": field(U32, 0)}), Reason.MALFORMED),
    "alignment 33": (gguf({"general.alignment": field(U32, 33)}), Reason.MALFORMED),
    "alignment in words": (gguf({"general.alignment": field(TEXT, "32")}), Reason.MALFORMED),
    "five dimensions": (gguf({}, [tensor("a", [1, 1, 1, 1, 1])]), Reason.MALFORMED),
    "nameless tensor": (gguf({}, [tensor("", [8])]), Reason.MALFORMED),
    "tensor twice": (gguf({}, [TENSOR, TENSOR], data=bytes(64)), Reason.MALFORMED),
    "crooked offset": (gguf({}, [tensor("a", [8], offset=1)], data=bytes(64)), Reason.MALFORMED),
    "broken row": (gguf({}, [tensor("a", [33], kind=2)], data=bytes(64)), Reason.MALFORMED),
    "data missing": (gguf({}, [TENSOR], data=bytes(31)), Reason.TRUNCATED),
    "data far away": (gguf({}, [tensor("a", [8], offset=1 << 62)], data=bytes(64)), Reason.TRUNCATED),
    "endless tensor": (gguf({}, [tensor("a", [(1 << 64) - 32] * 4)], data=bytes(64)), Reason.TRUNCATED),
    "data of the future missing": (gguf({}, [tensor("a", [8], 99, 64)], data=bytes(32)), Reason.TRUNCATED),
}


@pytest.mark.req("F-169")
@pytest.mark.parametrize(("raw", "reason"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_has_its_word(tmp_path: Path, raw: bytes, reason: Reason) -> None:
    assert reason_of(put(tmp_path, raw)) == reason


@pytest.mark.req("F-169")
def test_a_model_cut_off_anywhere(tmp_path: Path, minilm: Path) -> None:
    path = tmp_path / "cut.gguf"
    header = read_header(minilm)
    with minilm.open("rb") as source:
        path.write_bytes(source.read(header.data_offset))
    os.truncate(path, header.file_size)  # the data as a hole
    assert read_header(path).tensors == header.tensors
    for size in (header.file_size - 1, header.file_size // 2, header.data_offset, header.data_offset // 2, 1000, 24, 5):
        os.truncate(path, size)
        assert reason_of(path) == Reason.TRUNCATED


HOSTILE: dict[str, Callable[[], bytes]] = {
    "most texts": lambda: gguf({"a": array(TEXT, [], MAX_TEXTS)}) + bytes(8 * MAX_TEXTS),
    "most values": lambda: gguf({str(number): field(TEXT, "x" * 100_000) for number in range(90)}),
    "most tensors": lambda: gguf({}, [tensor(f"{'n' * 240}{number}", [1, 1, 1, 1]) for number in range(MAX_TENSORS)]),
    "longest keys": lambda: gguf([("k" * 60_000 + str(number), field(U8, 0)) for number in range(200)]),
    "longest array": lambda: gguf({"a": array(U8, [], 90_000_000)}) + bytes(90_000_000),
}


@pytest.mark.req("F-169")
@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_hostile_sizes_take_little_memory(tmp_path: Path, make: Callable[[], bytes]) -> None:
    path = put(tmp_path, make() + bytes(64))
    tracemalloc.start()
    try:
        with suppress(InvalidModelFile):
            read_header(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50 << 20


@pytest.mark.req("F-170")
def test_the_header_ends_at_100_megabytes(tmp_path: Path) -> None:
    path = put(tmp_path, gguf({"a": array(U8, [], 101_000_000), "b": field(U8, 1)}, key_count=2))
    os.truncate(path, 200_000_000)
    assert reason_of(path) == Reason.OVER_LIMIT


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@POSIX
@pytest.mark.req("F-167")
@pytest.mark.parametrize("make", [_fifo, _socket, _device, Path.mkdir])
def test_only_regular_files_are_opened(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "m.gguf")
    assert reason_of(tmp_path / "m.gguf") == Reason.NOT_REGULAR


@POSIX
@pytest.mark.req("F-167")
def test_a_pipe_that_replaces_the_file_is_not_waited_for(tmp_path: Path) -> None:
    """Between the look and the open: the open itself must not block, and looks again."""

    class Swapped(type(tmp_path)):  # type: ignore[misc]
        def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
            found = Path(__file__).stat()
            os.mkfifo(str(self))
            return found

    with pytest.raises(InvalidModelFile) as caught:
        open_regular(Swapped(tmp_path / "m.gguf"))
    assert caught.value.facts["reason"] == Reason.NOT_REGULAR


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    loop = tmp_path / "loop.gguf"
    loop.symlink_to(loop)
    assert reason_of(loop) == Reason.UNREADABLE
    assert reason_of(tmp_path / "missing.gguf") == Reason.MISSING
    assert reason_of(tmp_path / "nul\0.gguf") == Reason.UNREADABLE
    assert reason_of(tmp_path / ("long" * 100)) == Reason.UNREADABLE


@pytest.mark.req("F-168")
def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = put(tmp_path, b"GGUF")
    with open_regular(path) as file, pytest.raises(InvalidModelFile) as caught:
        Source(file, 24).take(24)
    assert caught.value.facts["reason"] == Reason.TRUNCATED


def test_a_file_that_grows_is_read_as_it_was(tmp_path: Path, minilm: Path) -> None:
    copy = tmp_path / "copy.gguf"
    shutil.copy(minilm, copy)
    with copy.open("ab") as file:
        file.write(b"\n")
    assert read_header(copy).tensors == read_header(minilm).tensors


def test_names_may_be_strange(tmp_path: Path) -> None:
    path = put(tmp_path, gguf({"a": field(U8, 1)}), name="-rf\n\u202e💥.gguf")
    assert read_header(path).metadata == {"a": 1}
