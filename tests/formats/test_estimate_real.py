"""The estimate against what a real engine's process takes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lanhaven.formats.estimate import estimate
from lanhaven.formats.gguf_model import describe_gguf
from tests.formats.engine import ENGINE, ask

pytestmark = [ENGINE, pytest.mark.skipif(sys.platform != "linux", reason="PSS is read from /proc")]

SHORT = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
LONG = {"messages": [{"role": "user", "content": "word " * 700}], "max_tokens": 4}


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("context_length", [2048, 8192])
def test_within_a_tenth_after_one_request(smollm2: Path, context_length: int, slots: int) -> None:
    guess = estimate(describe_gguf(smollm2), context_length=context_length, slots=slots)
    seen = ask(smollm2, "/v1/chat/completions", [SHORT], n_ctx=context_length * slots, n_parallel=slots)
    assert guess.total == pytest.approx(seen.memory, rel=0.1)


def test_within_a_tenth_when_a_whole_batch_was_used(smollm2: Path) -> None:
    guess = estimate(describe_gguf(smollm2), context_length=2048, slots=1)
    seen = ask(smollm2, "/v1/chat/completions", [LONG], n_ctx=2048, n_parallel=1)
    assert guess.total == pytest.approx(seen.memory, rel=0.1)


def test_an_embedding_model_with_its_whole_context_used(minilm: Path) -> None:
    guess = estimate(describe_gguf(minilm), context_length=512, slots=1)
    body = {"input": "word " * 500}
    seen = ask(minilm, "/v1/embeddings", [body], n_ctx=512, n_parallel=1, n_batch=512, n_ubatch=512, embedding=True)
    assert guess.total == pytest.approx(seen.memory, rel=0.1)
