"""Model files of a few kilobytes: what no package carries can be made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import gguf
import numpy as np

Field = bool | int | float | str | list[str] | list[int] | list[float]

WIDTH = 32
_WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "\u2581red",
    "\u2581green",
    "\u2581blue",
    "\u2581sea",
    "\u2581sky",
]


def write(path: Path, metadata: Mapping[str, Field], shapes: Mapping[str, Sequence[int]]) -> Path:
    """A GGUF file whose tensors hold small numbers by chance, the same in every run. Dimensions in ggml's order."""
    chance = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, str(metadata["general.architecture"]))
    for key, value in metadata.items():
        match value:
            case bool():
                writer.add_bool(key, value)
            case int():
                writer.add_uint32(key, value)
            case float():
                writer.add_float32(key, value)
            case str() if key != "general.architecture":
                writer.add_string(key, value)
            case list():
                writer.add_array(key, value)
    for name, dimensions in shapes.items():
        writer.add_tensor(name, chance.normal(0, 0.5, tuple(reversed(dimensions))).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def reranker(path: Path) -> Path:
    """A BERT with one layer and a head that gives a score."""
    layer: dict[str, tuple[int, ...]] = {
        f"blk.0.attn_{part}.weight": (WIDTH, WIDTH) for part in ("q", "k", "v", "output")
    }
    layer |= {f"blk.0.attn_{part}.bias": (WIDTH,) for part in ("q", "k", "v", "output")}
    layer |= {
        f"blk.0.{norm}.{half}": (WIDTH,) for norm in ("attn_output_norm", "layer_output_norm") for half in _HALVES
    }
    layer |= {"blk.0.ffn_up.weight": (WIDTH, 64), "blk.0.ffn_up.bias": (64,)}
    layer |= {"blk.0.ffn_down.weight": (64, WIDTH), "blk.0.ffn_down.bias": (WIDTH,)}
    head: dict[str, tuple[int, ...]] = {
        "cls.weight": (WIDTH, WIDTH),
        "cls.bias": (WIDTH,),
        "cls.output.weight": (WIDTH, 1),
        "cls.output.bias": (1,),
    }
    return write(
        path,
        {
            "general.architecture": "bert",
            "general.name": "toy reranker",
            "bert.context_length": 64,
            "bert.embedding_length": WIDTH,
            "bert.feed_forward_length": 64,
            "bert.block_count": 1,
            "bert.attention.head_count": 2,
            "bert.attention.layer_norm_epsilon": 1e-12,
            "bert.attention.causal": False,
            "bert.pooling_type": 4,
            "tokenizer.ggml.model": "bert",
            "tokenizer.ggml.pre": "default",
            "tokenizer.ggml.tokens": _WORDS,
            "tokenizer.ggml.token_type": [3] * 5 + [1] * 5,
            "tokenizer.ggml.token_type_count": 2,
            "tokenizer.ggml.padding_token_id": 0,
            "tokenizer.ggml.unknown_token_id": 1,
            "tokenizer.ggml.bos_token_id": 2,
            "tokenizer.ggml.cls_token_id": 2,
            "tokenizer.ggml.eos_token_id": 3,
            "tokenizer.ggml.seperator_token_id": 3,
            "tokenizer.ggml.mask_token_id": 4,
        },
        {
            "token_embd.weight": (WIDTH, len(_WORDS)),
            "position_embd.weight": (WIDTH, 64),
            "token_types.weight": (WIDTH, 2),
            "token_embd_norm.weight": (WIDTH,),
            "token_embd_norm.bias": (WIDTH,),
            **layer,
            **head,
        },
    )


_HALVES = ("weight", "bias")


def projector(path: Path, *, model_width: int) -> Path:
    """Eyes for a model whose embeddings have `model_width` values: pictures of 56 pixels become one token."""
    square, bias = (WIDTH, WIDTH), (WIDTH,)
    block: dict[str, tuple[int, ...]] = {f"v.blk.0.{norm}.{half}": bias for norm in ("ln1", "ln2") for half in _HALVES}
    block |= {f"v.blk.0.{part}.weight": square for part in ("attn_q", "attn_k", "attn_v", "attn_out")}
    block |= {f"v.blk.0.{part}.bias": bias for part in ("attn_q", "attn_k", "attn_v", "attn_out")}
    block |= {"v.blk.0.ffn_up.weight": (WIDTH, 64), "v.blk.0.ffn_up.bias": (64,)}
    block |= {"v.blk.0.ffn_down.weight": (64, WIDTH), "v.blk.0.ffn_down.bias": bias}
    return write(
        path,
        {
            "general.architecture": "clip",
            "clip.projector_type": "gemma3",
            "clip.has_vision_encoder": True,
            "clip.has_text_encoder": False,
            "clip.use_gelu": True,
            "clip.vision.image_mean": [0.0, 0.0, 0.0],
            "clip.vision.image_std": [1.0, 1.0, 1.0],
            "clip.vision.image_size": 56,
            "clip.vision.patch_size": 14,
            "clip.vision.embedding_length": WIDTH,
            "clip.vision.feed_forward_length": 64,
            "clip.vision.projection_dim": model_width,
            "clip.vision.block_count": 1,
            "clip.vision.attention.head_count": 2,
            "clip.vision.projector.scale_factor": 4,
            "clip.vision.attention.layer_norm_epsilon": 1e-6,
        },
        {
            "v.patch_embd.weight": (14, 14, 3, WIDTH),
            "v.patch_embd.bias": bias,
            "v.position_embd.weight": (WIDTH, 16),
            "mm.input_projection.weight": (model_width, WIDTH),
            "mm.soft_emb_norm.weight": bias,
            **block,
        },
    )
