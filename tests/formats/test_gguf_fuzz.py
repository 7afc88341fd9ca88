"""Whatever the bytes are: an InvalidModelFile or a model, and nothing else."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanhaven.errors import InvalidModelFile
from lanhaven.formats.estimate import estimate
from lanhaven.formats.gguf import read_header
from lanhaven.formats.gguf_model import GGUFModel, describe_gguf
from lanhaven.formats.gguf_source import Reason
from lanhaven.formats.safetensors import read_safetensors
from tests.formats.gguf_files import F32, TEXT, U32, array, facts, field, gguf, tensor

SMALL = gguf(
    {
        **facts("gemma3", block_count=4, context_length=512, embedding_length=64, feed_forward_length=128),
        **facts("gemma3", attention__head_count=[4, 4, 4, 4], attention__sliding_window=128),
        "gemma3.attention.causal": field(7, True),
        "general.file_type": field(U32, 3),
        "tokenizer.ggml.tokens": array(TEXT, ["a", "b", "c"] * 30),
        "tokenizer.ggml.scores": array(F32, [0.5] * 90),
        "tokenizer.chat_template": field(TEXT, "{{ tools }}"),
        "split.count": field(U32, 1),
    },
    [tensor("token_embd.weight", [64, 90], 0), tensor("b", [64, 2], 2, offset=23040)],
    data=bytes(23_136),
)
ODD = st.sampled_from([0, 1, 0x7F, 0x80, 0xFF])
EDIT = st.tuples(st.integers(0, len(SMALL) - 1), st.one_of(ODD, st.integers(0, 255)))
NUMBER = st.sampled_from(
    [0, 1, 8, 9, 12, 13, 255, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
)


@contextmanager
def file_of(raw: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m-00001-of-00002.gguf")
        path.write_bytes(raw)
        yield path


def describe(raw: bytes) -> GGUFModel | None:
    """The model; None if it was refused in the right way."""
    with file_of(raw) as path:
        try:
            return describe_gguf(path)
        except InvalidModelFile as error:
            if error.facts["reason"] not in set(Reason):
                raise
            return None


def use(model: GGUFModel | None) -> None:
    """What is done with the facts must bear them, too."""
    if model is not None:
        needed = estimate(model, context_length=512, slots=2)
        if min(needed.weights, needed.kv, needed.compute, needed.prompt_cache, needed.base) < 0:
            raise AssertionError(needed)
        estimate(model, context_length=model.max_context or 256, slots=2)
        hash(model.capabilities)


def test_unchanged_it_is_a_model() -> None:
    model = describe(SMALL)
    assert model is not None
    use(model)


@pytest.mark.req("F-169")
@given(edits=st.lists(EDIT, min_size=1, max_size=8))
@settings(max_examples=300, deadline=None)
def test_changed_bytes(edits: list[tuple[int, int]]) -> None:
    raw = bytearray(SMALL)
    for place, byte in edits:
        raw[place] = byte
    use(describe(bytes(raw)))


@pytest.mark.req("F-169")
@given(place=st.integers(4, 1100), number=NUMBER, width=st.sampled_from([4, 8]))
@settings(max_examples=300, deadline=None)
def test_changed_numbers(place: int, number: int, width: int) -> None:
    raw = bytearray(SMALL)
    raw[place : place + width] = (number % (1 << 8 * width)).to_bytes(width, "little")
    use(describe(bytes(raw)))


@pytest.mark.req("F-169")
@given(begin=st.integers(0, len(SMALL)), end=st.integers(0, len(SMALL)), filling=st.binary(max_size=64))
@settings(max_examples=200, deadline=None)
def test_cut_and_filled(begin: int, end: int, filling: bytes) -> None:
    use(describe(SMALL[:begin] + filling + SMALL[end:]))


@pytest.mark.req("F-169")
@given(tail=st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_noise_behind_the_magic(tail: bytes) -> None:
    use(describe(b"GGUF\x03\0\0\0" + tail))


@pytest.mark.req("F-169")
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_scrambled_real_headers(minilm: Path, data: st.DataObject) -> None:
    size = read_header(minilm).data_offset
    with minilm.open("rb") as file:
        raw = bytearray(file.read(size))
    for _ in range(data.draw(st.integers(0, 5))):
        raw[data.draw(st.integers(0, size - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, size))
    assert describe(bytes(raw[:cut])) is None  # no data at all: always cut off


@given(raw=st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda b: len(b).to_bytes(8, "little") + b)))
@settings(max_examples=200, deadline=None)
def test_noise_is_no_safetensors_file(raw: bytes) -> None:
    with file_of(raw) as path, pytest.raises(InvalidModelFile):
        read_safetensors(path)


@given(
    begin=st.integers(-1, 1 << 70),
    end=st.integers(-1, 1 << 70),
    shape=st.lists(st.integers(-1, 1 << 70), max_size=9),
    dtype=st.sampled_from(["F32", "F4", "", "\u0000"]),
)
@settings(max_examples=200, deadline=None)
def test_safetensors_with_wild_numbers(begin: int, end: int, shape: list[int], dtype: str) -> None:
    text = f'{{"a": {{"dtype": "{dtype}", "shape": {shape}, "data_offsets": [{begin}, {end}]}}}}'.encode()
    with file_of(len(text).to_bytes(8, "little") + text + bytes(64)) as path:
        try:
            found = read_safetensors(path)["a"]
        except InvalidModelFile:
            return
        assert found.offset + found.size <= path.stat().st_size
