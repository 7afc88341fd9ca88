"""The conversion of MiniLM: names, bytes and vocabulary as llama.cpp wants them, and vectors that mean something."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from lanhaven.formats.gguf_model import describe_gguf
from lanhaven.packed.minilm import write_minilm
from tests.formats.engine import ENGINE, ask

CONFIG = {
    "hidden_size": 4,
    "intermediate_size": 8,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "model_type": "bert",
}
VOCABULARY = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "##s", "#", "é"]
BLOCK_SHAPES = {
    **{f"attention.self.{part}": (4, 4) for part in ("query", "key", "value")},
    "attention.output.dense": (4, 4),
    "attention.output.LayerNorm": (4,),
    "output.LayerNorm": (4,),
    "intermediate.dense": (8, 4),
    "output.dense": (4, 8),
}


def shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of a BERT of two layers, and one that nobody wants."""
    found: dict[str, tuple[int, ...]] = {
        "embeddings.position_ids": (1, 16),
        "embeddings.word_embeddings.weight": (len(VOCABULARY), 4),
        "embeddings.position_embeddings.weight": (16, 4),
        "embeddings.token_type_embeddings.weight": (2, 4),
        "embeddings.LayerNorm.weight": (4,),
        "embeddings.LayerNorm.bias": (4,),
    }
    for layer in range(2):
        for name, shape in BLOCK_SHAPES.items():
            found[f"encoder.layer.{layer}.{name}.weight"] = shape
            found[f"encoder.layer.{layer}.{name}.bias"] = shape[:1]
    return found


def package(folder: Path, dtype: str = "F32") -> dict[str, Path]:
    """The three files; every value of a tensor is another number."""
    header, data, next_value = {}, b"", 0
    for name, shape in shapes().items():
        count = math.prod(shape)
        raw = struct.pack(f"<{count}f", *range(next_value, next_value + count))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data, next_value = data + raw, next_value + count
    text = json.dumps(header).encode()
    files = {
        "config.json": json.dumps(CONFIG).encode(),
        "vocab.txt": "\n".join([*VOCABULARY, ""]).encode(),
        "model.safetensors": len(text).to_bytes(8, "little") + text + data,
    }
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    return {f"toy/model/{name}": folder / name for name in files}


def test_tensors_and_vocabulary_of_the_result(tmp_path: Path) -> None:
    import gguf as reference

    with (tmp_path / "made.gguf").open("wb") as out:
        list(write_minilm(package(tmp_path), out))
    read = reference.GGUFReader(tmp_path / "made.gguf")
    found = {tensor.name: tensor for tensor in read.tensors}
    assert len(found) == len(shapes()) - 1
    assert found["token_embd.weight"].data[0].tolist() == [16, 17, 18, 19]
    assert found["blk.1.ffn_down.weight"].shape.tolist() == [8, 4]
    assert found["blk.0.ffn_up.bias"].shape.tolist() == [8]
    values = sorted(value for tensor in read.tensors for value in tensor.data.flatten().tolist())
    assert values == list(range(16, 16 + len(values)))  # all but the positions, each once
    tokens = read.get_field("tokenizer.ggml.tokens").contents()
    assert tokens == ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "▁cat", "s", "▁#", "▁é"]
    assert read.get_field("tokenizer.ggml.token_type").contents() == [3, 5, 3, 3, 3, 3, 1, 1, 1, 1]
    assert read.get_field("tokenizer.ggml.cls_token_id").contents() == 3
    assert read.get_field("bert.attention.causal").contents() is False
    model = describe_gguf(tmp_path / "made.gguf")
    assert (model.layers, model.max_context, model.embedding_length, model.pooling) == (2, 16, 4, "mean")


def test_other_number_types_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "made.gguf").open("wb") as out, pytest.raises(ValueError, match="is I32"):
        list(write_minilm(package(tmp_path, "I32"), out))


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


@ENGINE
def test_the_engine_gives_vectors_that_mean_something(minilm: Path) -> None:
    texts = ["A cat sits on the mat.", "A kitten is resting on a rug.", "The stock market fell sharply today."]
    seen = ask(minilm, "/v1/embeddings", [{"input": texts}], n_ctx=512, n_parallel=1, n_ubatch=512, embedding=True)
    cat, kitten, market = (item["embedding"] for item in seen.answers[0]["data"])
    assert len(cat) == 384
    assert [cosine(vector, vector) for vector in (cat, kitten, market)] == pytest.approx([1, 1, 1], abs=1e-5)
    # 0.655 and 0.091 here; a wrong tokenizer or a transposed tensor brings them together.
    assert cosine(cat, kitten) == pytest.approx(0.655, abs=0.02)
    assert cosine(cat, market) == pytest.approx(0.091, abs=0.02)
