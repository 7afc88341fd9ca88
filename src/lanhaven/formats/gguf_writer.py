"""Writes GGUF version 3: metadata, and F32 or F16 tensors streamed from where they lie; same input, same bytes."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

ALIGNMENT = 32
F32, F16 = 0, 1  # ggml tensor types
_VALUE_BYTES = {F32: 4, F16: 2}

# What a Python value becomes: bool -> BOOL, int -> UINT32, float -> FLOAT32, str -> STRING, a sequence of str -> an
# array of STRING, array("i") -> an array of INT32, array("f") -> an array of FLOAT32.
Field: TypeAlias = "bool | int | float | str | Sequence[str] | array[int] | array[float]"
_ARRAYS = {"i": 5, "f": 6}


@dataclass(frozen=True, slots=True)
class NewTensor:
    """A tensor to write. `dimensions` in ggml's order: the fastest one first. `blocks` gives its bytes, in pieces."""

    name: str
    dimensions: tuple[int, ...]
    type: int
    blocks: Iterable[bytes]

    @property
    def size(self) -> int:
        """Bytes of data."""
        size = _VALUE_BYTES[self.type]
        for dimension in self.dimensions:
            size *= dimension
        return size


def write_gguf(out: BinaryIO, metadata: Mapping[str, Field], tensors: Sequence[NewTensor]) -> Iterator[int]:
    """Write the file to `out`, which stands at its beginning; yield the bytes written so far after each piece.

    ValueError if the blocks of a tensor do not have the size that its dimensions say.
    """
    head = _head(metadata, tensors)
    out.write(head)
    written = len(head)
    yield written
    for tensor in tensors:
        begin = written
        for block in tensor.blocks:
            out.write(block)
            written += len(block)
            yield written
        if written - begin != tensor.size:
            raise ValueError(f"tensor {tensor.name} has {written - begin} bytes instead of {tensor.size}")
        padding = -written % ALIGNMENT
        out.write(bytes(padding))
        written += padding
    yield written


def _head(metadata: Mapping[str, Field], tensors: Sequence[NewTensor]) -> bytes:
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(metadata))]
    for key, value in metadata.items():
        parts += [_text(key), _field(value)]
    offset = 0
    for tensor in tensors:
        count = len(tensor.dimensions)
        place = struct.pack(f"<I{count}QIQ", count, *tensor.dimensions, tensor.type, offset)
        parts += [_text(tensor.name), place]
        offset += -(-tensor.size // ALIGNMENT) * ALIGNMENT
    head = b"".join(parts)
    return head + bytes(-len(head) % ALIGNMENT)


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def _field(value: Field) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + _text(value)
        case array():
            code = value.typecode
            return struct.pack("<IIQ", 9, _ARRAYS[code], len(value)) + struct.pack(f"<{len(value)}{code}", *value)
        case _:
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(_text, value))
