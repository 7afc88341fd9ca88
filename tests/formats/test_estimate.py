"""The arithmetic of the memory estimate."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanhaven.errors import InvalidRequest
from lanhaven.formats.estimate import estimate
from lanhaven.formats.gguf_model import GGUFModel, describe_gguf
from tests.formats.gguf_files import facts, gguf, put, tensor

MIB = 1 << 20


@pytest.fixture(scope="module")
def chat(smollm2: Path) -> GGUFModel:
    return describe_gguf(smollm2)


def model(folder: Path, architecture: str, **numbers: int | list[int]) -> GGUFModel:
    return describe_gguf(put(folder, gguf(facts(architecture, **numbers))))


# "KV buffer size" in the engine's own log, MiB.
@pytest.mark.parametrize(
    ("context_length", "slots", "kv_type", "kv"),
    [
        (512, 1, "f16", 11.25),
        (2048, 1, "f16", 45),
        (512, 4, "f16", 45),
        (8192, 1, "f16", 180),
        (8192, 4, "f16", 720),
        (8192, 1, "q8_0", 95.625),
        (2048, 1, "f32", 90),
        (2000, 1, "f16", 45),  # in steps of 256 tokens
    ],
)
def test_the_cache_is_exact(chat: GGUFModel, context_length: int, slots: int, kv_type: str, kv: float) -> None:
    guess = estimate(chat, context_length=context_length, slots=slots, kv_type=kv_type)
    assert guess.kv == kv * MIB
    assert guess.weights == 96_576_768
    assert guess.total == guess.weights + guess.kv + guess.compute + guess.prompt_cache + guess.base


def test_the_compute_buffer_is_that_of_the_engine(chat: GGUFModel) -> None:
    """16.64 and 22.64 MiB in the engine's log; without flash attention 47.51 and 167.51."""
    for context_length, with_flash, without in ((2048, 16.64, 47.51), (8192, 22.64, 167.51)):
        guess = estimate(chat, context_length=context_length, slots=1)
        assert guess.compute == pytest.approx(with_flash * MIB, rel=0.01)
        guess = estimate(chat, context_length=context_length, slots=1, flash_attention=False)
        assert guess.compute == pytest.approx(without * MIB, rel=0.05)


GEMMA_3_270M = {
    "block_count": 18,
    "embedding_length": 640,
    "feed_forward_length": 2048,
    "attention__head_count": 4,
    "attention__head_count_kv": 1,
    "attention__key_length": 256,
    "attention__value_length": 256,
    "attention__sliding_window": 512,
    "context_length": 32768,
}


def test_windowed_layers_stop_growing(tmp_path: Path) -> None:
    """Gemma 3 270M in the engine's log: 6 + 15 MiB at 2048, 96 + 60 at 8192 x 4; compute 21.28 and 27.28."""
    gemma = model(tmp_path, "gemma3", **GEMMA_3_270M)
    small = estimate(gemma, context_length=2048, slots=1)
    large = estimate(gemma, context_length=8192, slots=4)
    assert (small.kv, large.kv) == (21 * MIB, 156 * MIB)
    assert small.compute == pytest.approx(21.28 * MIB, rel=0.01)
    assert large.compute == pytest.approx(27.28 * MIB, rel=0.01)
    assert (small.prompt_cache, large.prompt_cache) == (15 * MIB, 4 * 2 * 15 * MIB)


def test_recurrent_layers_take_the_same_at_any_length(tmp_path: Path) -> None:
    mamba = {"ssm__conv_kernel": 4, "ssm__inner_size": 1024, "ssm__state_size": 16, "attention__head_count_kv": 0}
    recurrent = model(tmp_path, "mamba", block_count=8, embedding_length=512, attention__head_count=8, **mamba)
    short, long = (estimate(recurrent, context_length=length, slots=2).kv for length in (512, 65536))
    assert short == long == 2 * 8 * 4 * (3 * 1024 + 16 * 1024)


def test_encoders_have_no_cache(minilm: Path) -> None:
    guess = estimate(describe_gguf(minilm), context_length=512, slots=4)
    assert (guess.kv, guess.prompt_cache) == (0, 0)


def test_what_comes_on_top(tmp_path: Path, chat: GGUFModel) -> None:
    plain = estimate(chat, context_length=2048, slots=1)
    projector = describe_gguf(put(tmp_path, gguf(facts("clip"), [tensor("v", [8])], data=bytes(32))))
    more = estimate(chat, context_length=2048, slots=1, cache_ram_bytes=5 * MIB, projector=projector)
    assert more.total == plain.total + 5 * MIB + 32


@pytest.mark.parametrize("wrong", [{"context_length": 0}, {"slots": 0}, {"kv_type": "q9"}, {"kv_type": "F16"}])
def test_senseless_questions_are_refused(chat: GGUFModel, wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        estimate(chat, **{"context_length": 2048, "slots": 1, **wrong})  # type: ignore[arg-type]


@given(context_length=st.integers(1, 8192 - 256), slots=st.integers(1, 8), kv_type=st.sampled_from(["f16", "q8_0"]))
@settings(max_examples=60, deadline=None)
def test_more_context_never_takes_less(chat: GGUFModel, context_length: int, slots: int, kv_type: str) -> None:
    """The search for the longest one that fits relies on it."""

    def needed(tokens: int) -> int:
        return estimate(chat, context_length=tokens, slots=slots, kv_type=kv_type).total

    assert needed(context_length) <= needed(context_length + 1) <= needed(context_length + 256)
