"""Models of mlx-lm that make embeddings, as they are served."""

from __future__ import annotations

import base64
import json
import math
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lanhaven.providers.base import Ignored, ModelEntry
from lanhaven.providers.mlx.provider import MLX
from lanhaven.types.models import LoadConfig, ModelKind, Upstream
from tests.mlx.engine import info, load, provider, refused
from tests.providers.llamacpp.llama import Observer, ask

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

TEXTS = ["The sea is calm.", "A storm at sea, with " + "wave after wave, " * 60]
# The reference: mlx-lm alone, a text in one piece.
REFERENCE = """\
import json, sys
import mlx.core as mx
from mlx_lm import load
model, tokenizer = load(sys.argv[1])
for text in json.loads(sys.argv[2]):
    hidden = model.model(mx.array([tokenizer.encode(text)]))[0].astype(mx.float32)
    vector = hidden[-1] if sys.argv[3] == "last" else hidden.mean(axis=0)
    print(json.dumps((vector / mx.linalg.norm(vector)).tolist()))
"""


@pytest.fixture(scope="module")
def folder(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, said to be made for embeddings."""
    folder = tmp_path_factory.mktemp("pooled") / "tiny"
    shutil.copytree(tiny, folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text('{"pooling_mode_mean_tokens": false, "pooling_mode_lasttoken": true}')
    return folder


@pytest.fixture(scope="module")
async def made(mlx_python: Path) -> AsyncIterator[MLX]:
    async with provider(mlx_python) as made:
        yield made


@pytest.fixture(scope="module")
async def upstream(made: MLX, folder: Path) -> Upstream:
    loaded, _ = await load(made, folder, LoadConfig(context_length=512, slots=4))
    assert loaded.ignored == (Ignored("slots", "texts are turned into vectors one after the other"),)
    return loaded.upstream


async def embed(upstream: Upstream, given: Any, **fields: Any) -> dict[str, Any]:
    status, reply = await ask(upstream, "/v1/embeddings", {"input": given, **fields})
    assert status == 200, reply
    assert isinstance(reply, dict)
    return reply


def reference(python: Path, folder: Path, pooling: str) -> list[list[float]]:
    command = [python, "-c", REFERENCE, folder, json.dumps(TEXTS), pooling]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


async def test_vectors_are_those_of_the_model(upstream: Upstream, mlx_python: Path, folder: Path) -> None:
    """A long text is read in parts, which changes nothing."""
    reply = await embed(upstream, TEXTS)
    found = [each["embedding"] for each in reply["data"]]
    for vector, expected in zip(found, reference(mlx_python, folder, "last"), strict=True):
        assert np.allclose(vector, expected, atol=2e-2)  # weights in 16 bits
        assert math.isclose(math.hypot(*vector), 1, abs_tol=1e-4)
    assert not np.allclose(found[0], found[1], atol=0.1)
    assert reply["usage"]["prompt_tokens"] == reply["usage"]["total_tokens"] > 128
    assert [each["index"] for each in reply["data"]] == [0, 1]


async def test_the_mean_of_all_tokens_by_setting(made: MLX, mlx_python: Path, folder: Path) -> None:
    loaded = await made.load(info(made, folder, pooling="mean"), "mean", LoadConfig(context_length=512), Observer())
    reply = await embed(loaded.upstream, TEXTS)
    for each, expected in zip(reply["data"], reference(mlx_python, folder, "mean"), strict=True):
        assert np.allclose(each["embedding"], expected, atol=2e-2)


async def test_tokens_and_packed_numbers(upstream: Upstream) -> None:
    _, told = await ask(upstream, "/tokenize", {"content": TEXTS[0], "add_special": True})
    assert isinstance(told, dict)
    by_tokens = await embed(upstream, told["tokens"])
    packed = await embed(upstream, TEXTS[0], encoding_format="base64")
    numbers = np.frombuffer(base64.b64decode(packed["data"][0]["embedding"]), dtype=np.float32)
    assert np.allclose(numbers, by_tokens["data"][0]["embedding"], atol=1e-6)


async def test_what_it_does_not_do(upstream: Upstream) -> None:
    status, reply = await refused(upstream, "/v1/embeddings", input="word " * 600)
    assert (status, "at most 512 tokens" in reply["message"]) == (400, True)
    status, reply = await refused(upstream, "/v1/completions", prompt="Hello", max_tokens=1)
    assert (status, reply["message"]) == (501, "this model makes embeddings, and no texts")


async def test_how_it_is_known(made: MLX, folder: Path, tiny: Path, tmp_path: Path) -> None:
    found = made.describe(_entry(folder))
    assert (found.kind, found.capabilities) == (ModelKind.EMBEDDING, {"embedding"})
    assert made.describe(_entry(folder, pooling="none")).kind is ModelKind.LLM
    assert made.describe(_entry(tiny)).kind is ModelKind.LLM
    for name in ("Qwen3-Embedding-0.6B-4bit", "models--org--Tiny-Embedding/snapshots/0123"):
        shutil.copytree(tiny, tmp_path / name)
        assert made.describe(_entry(tmp_path / name)).kind is ModelKind.EMBEDDING
    encoder = tmp_path / "Qwen3-Embedding-0.6B-4bit"
    config = json.loads((encoder / "config.json").read_text()) | {"use_bidirectional_attention": True}
    (encoder / "config.json").write_text(json.dumps(config))
    assert "runs no encoders" in (made.describe(_entry(encoder)).unavailable or "")


def _entry(folder: Path, **config: Any) -> ModelEntry:
    return ModelEntry("tiny", "mlx", config={"model_path": str(folder), **config})
