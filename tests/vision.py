"""Eyes for SmolLM2: a projector of 190 kB that tells red from green from blue.

It is a whole CLIP of one block that does nothing: the mean of each colour over a patch becomes as much of the token
embedding of " red", " green" and " blue" of the very model that it is made for. So the model is told, in the only place
where it listens, which colour it sees.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Mapping, Sequence
from math import sqrt
from pathlib import Path

from lanhaven.formats.gguf import read_header
from lanhaven.formats.gguf_writer import F32, Field, NewTensor, write_gguf

COLORS = ("red", "green", "blue")
SIZE, PATCH, WIDTH, HIDDEN = 56, 14, 32, 64
_BLOCK = 32  # values of Q8_0, behind one scale


def make_eyes(model: Path, out: Path) -> Path:
    """Write the projector for `model`, whose token embeddings are Q8_0."""
    rows = _embeddings(model, [f"\u0120{color}" for color in COLORS])
    length = len(rows[0])
    scaled = [value / sqrt(WIDTH) for row in rows for value in row]
    projection = scaled + [0.0] * (length * WIDTH - len(scaled))
    with out.open("wb") as file:
        for _ in write_gguf(file, _metadata(length), [*_encoder(), _tensor("mm.input_projection.weight", (length, WIDTH), projection),
                                                      _tensor("mm.soft_emb_norm.weight", (WIDTH,), [1.0] * WIDTH)]):  # fmt: skip
            pass
    return out


def _metadata(length: int) -> Mapping[str, Field]:
    numbers = {
        "image_size": SIZE, "patch_size": PATCH, "embedding_length": WIDTH, "feed_forward_length": HIDDEN,
        "projection_dim": length, "block_count": 1, "attention.head_count": 2, "projector.scale_factor": 4,
    }  # fmt: skip
    return {
        "general.architecture": "clip",
        "clip.projector_type": "gemma3",
        "clip.has_vision_encoder": True,
        "clip.has_text_encoder": False,
        **{f"clip.vision.{name}": number for name, number in numbers.items()},
        "clip.vision.attention.layer_norm_epsilon": 1e-6,
        "clip.vision.image_mean": array("f", [0.0] * 3),
        "clip.vision.image_std": array("f", [1.0] * 3),
        "clip.use_gelu": True,
    }


def _encoder() -> list[NewTensor]:
    """Each patch's mean colour in the first three values; a block that adds nothing to it."""
    area = PATCH * PATCH
    look = [0.0] * (area * 3 * WIDTH)
    for color in range(3):
        begin = (color * 3 + color) * area
        look[begin : begin + area] = [1.0 / area] * area
    places = (SIZE // PATCH) ** 2
    tensors = [
        _tensor("v.patch_embd.weight", (PATCH, PATCH, 3, WIDTH), look),
        _zeros("v.patch_embd.bias", (WIDTH,)),
        _zeros("v.position_embd.weight", (WIDTH, places)),
    ]
    for name in ("ln1", "ln2"):
        tensors += [
            _tensor(f"v.blk.0.{name}.weight", (WIDTH,), [1.0] * WIDTH),
            _zeros(f"v.blk.0.{name}.bias", (WIDTH,)),
        ]
    for name, given, taken in (
        *((f"attn_{each}", WIDTH, WIDTH) for each in ("q", "k", "v", "out")),
        ("ffn_up", WIDTH, HIDDEN),
        ("ffn_down", HIDDEN, WIDTH),
    ):
        tensors += [_zeros(f"v.blk.0.{name}.weight", (given, taken)), _zeros(f"v.blk.0.{name}.bias", (taken,))]
    return tensors


def _tensor(name: str, dimensions: tuple[int, ...], values: Sequence[float]) -> NewTensor:
    return NewTensor(name, dimensions, F32, [struct.pack(f"<{len(values)}f", *values)])


def _zeros(name: str, dimensions: tuple[int, ...]) -> NewTensor:
    count = 1
    for dimension in dimensions:
        count *= dimension
    return NewTensor(name, dimensions, F32, [bytes(4 * count)])


def _embeddings(model: Path, tokens: Sequence[str]) -> list[list[float]]:
    header = read_header(model)
    (table,) = [each for each in header.tensors if each.name == "token_embd.weight"]
    assert table.type == 8, "the embeddings are not Q8_0"
    length, _ = table.dimensions
    row_bytes = length // _BLOCK * (2 + _BLOCK)
    numbers = _numbers(model, header.data_offset, tokens)
    with model.open("rb") as file:
        rows = []
        for number in numbers:
            file.seek(header.data_offset + table.offset + number * row_bytes)
            rows.append(_dequantized(file.read(row_bytes)))
        return rows


def _dequantized(row: bytes) -> list[float]:
    values: list[float] = []
    for scale, *quants in struct.iter_unpack(f"<e{_BLOCK}b", row):
        values += [scale * quant for quant in quants]
    return values


def _numbers(model: Path, head_bytes: int, tokens: Sequence[str]) -> list[int]:
    """The ids of tokens: their places in the vocabulary, which is an array of texts."""
    with model.open("rb") as file:
        head = file.read(head_bytes)
    key = b"tokenizer.ggml.tokens"
    at = head.index(struct.pack("<Q", len(key)) + key) + 8 + len(key) + 8  # behind two types
    (count,) = struct.unpack_from("<Q", head, at)
    at, wanted = at + 8, {token.encode(): -1 for token in tokens}
    for number in range(count):
        (size,) = struct.unpack_from("<Q", head, at)
        text = head[at + 8 : at + 8 + size]
        if text in wanted:
            wanted[text] = number
        at += 8 + size
    assert -1 not in wanted.values()
    return [wanted[token.encode()] for token in tokens]
