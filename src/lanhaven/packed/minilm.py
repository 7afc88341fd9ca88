"""all-MiniLM-L6-v2 from its safetensors file to GGUF, in the form that llama.cpp reads BERT models in.

The tensors stay F32, byte for byte: nothing is computed, so the result is the same on every machine and needs no
numpy. The vocabulary is turned round as llama.cpp's WordPiece wants it: a token that begins a word gets U+2581 in
front, a continuation loses its "##".
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import msgspec

from lanhaven.formats.gguf_writer import F32, Field, NewTensor, write_gguf
from lanhaven.formats.safetensors import StoredTensor, read_safetensors

_BLOCK = 4 << 20
_NORMAL, _CONTROL, _UNUSED = 1, 3, 5  # llama_token_type
_MEAN = 1  # llama_pooling_type
_SPECIAL = frozenset({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"})
_EMBEDDINGS = {
    "word_embeddings.weight": "token_embd.weight",
    "position_embeddings.weight": "position_embd.weight",
    "token_type_embeddings.weight": "token_types.weight",
    "LayerNorm.weight": "token_embd_norm.weight",
    "LayerNorm.bias": "token_embd_norm.bias",
}
_BLOCKS = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}


class _Config(msgspec.Struct):
    """What is used of the model's config.json."""

    hidden_size: int
    intermediate_size: int
    layer_norm_eps: float
    max_position_embeddings: int
    num_attention_heads: int
    num_hidden_layers: int


def write_minilm(members: Mapping[str, Path], out: BinaryIO) -> Iterator[int]:
    """Write the GGUF file to `out`; yields the bytes written so far. `members` are the three files of the package."""
    files = {PurePosixPath(member).name: path for member, path in members.items()}
    config = msgspec.json.decode(files["config.json"].read_bytes(), type=_Config)
    vocabulary = files["vocab.txt"].read_text("utf-8").splitlines()
    weights = files["model.safetensors"]
    stored = read_safetensors(weights)
    tensors = [
        _tensor(weights, new_name, stored[old_name]) for old_name, new_name in _names(config.num_hidden_layers).items()
    ]
    yield from write_gguf(out, _metadata(config, vocabulary), tensors)


def _names(layers: int) -> dict[str, str]:
    """Name in the safetensors file -> name in the GGUF file."""
    names = {f"embeddings.{old}": new for old, new in _EMBEDDINGS.items()}
    for layer in range(layers):
        for old, new in _BLOCKS.items():
            for part in ("weight", "bias"):
                names[f"encoder.layer.{layer}.{old}.{part}"] = f"blk.{layer}.{new}.{part}"
    return names


def _tensor(file: Path, name: str, stored: StoredTensor) -> NewTensor:
    if stored.dtype != "F32":
        raise ValueError(f"{name} is {stored.dtype}")
    return NewTensor(name, tuple(reversed(stored.shape)), F32, _blocks(file, stored.offset, stored.size))


def _blocks(path: Path, offset: int, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(offset)
        for begin in range(0, size, _BLOCK):
            yield file.read(min(_BLOCK, size - begin))


def _metadata(config: _Config, vocabulary: list[str]) -> dict[str, Field]:
    return {
        "general.architecture": "bert",
        "general.type": "model",
        "general.name": "all-MiniLM-L6-v2",
        "general.license": "apache-2.0",
        "general.file_type": 0,
        "bert.context_length": config.max_position_embeddings,
        "bert.embedding_length": config.hidden_size,
        "bert.feed_forward_length": config.intermediate_size,
        "bert.block_count": config.num_hidden_layers,
        "bert.attention.head_count": config.num_attention_heads,
        "bert.attention.layer_norm_epsilon": config.layer_norm_eps,
        "bert.attention.causal": False,
        "bert.pooling_type": _MEAN,
        **_tokenizer(vocabulary),
    }


def _tokenizer(vocabulary: list[str]) -> dict[str, Field]:
    special = {token: vocabulary.index(token) for token in _SPECIAL}
    return {
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [_token(token) for token in vocabulary],
        "tokenizer.ggml.token_type": array("i", map(_token_type, vocabulary)),
        "tokenizer.ggml.token_type_count": 2,
        "tokenizer.ggml.bos_token_id": special["[CLS]"],
        "tokenizer.ggml.eos_token_id": special["[SEP]"],
        "tokenizer.ggml.unknown_token_id": special["[UNK]"],
        "tokenizer.ggml.seperator_token_id": special["[SEP]"],  # spelt so in llama.cpp
        "tokenizer.ggml.padding_token_id": special["[PAD]"],
        "tokenizer.ggml.cls_token_id": special["[CLS]"],
        "tokenizer.ggml.mask_token_id": special["[MASK]"],
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_eos_token": True,
    }


def _token(token: str) -> str:
    if token.startswith("[") and token.endswith("]"):
        return token
    return token.removeprefix("##") if token.startswith("##") else "\u2581" + token


def _token_type(token: str) -> int:
    if token in _SPECIAL:
        return _CONTROL
    return _UNUSED if token.startswith("[unused") and token.endswith("]") else _NORMAL
