"""GGUF files made byte by byte, right ones and wrong ones."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

# Numbers of the value types.
U8, I8, U16, I16, U32, I32, F32, BOOL, TEXT, ARRAY, U64, I64, F64 = range(13)
CODES = dict(zip((*range(8), U64, I64, F64), "BbHhIif?Qqd", strict=True))


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def value(kind: int, item: object) -> bytes:
    """A value without its type in front."""
    return text(item) if isinstance(item, str | bytes) else struct.pack("<" + CODES[kind], item)


def field(kind: int, item: object) -> bytes:
    return struct.pack("<I", kind) + value(kind, item)


def array(kind: int, items: Sequence[object], count: int | None = None) -> bytes:
    """An array, which may claim another `count` than it has."""
    claimed = len(items) if count is None else count
    return struct.pack("<IIQ", ARRAY, kind, claimed) + b"".join(value(kind, item) for item in items)


def tensor(name: str | bytes, dimensions: Sequence[int], kind: int = 0, offset: int = 0) -> bytes:
    place = struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, kind, offset)
    return text(name) + place


def gguf(
    fields: Mapping[str, bytes] | Sequence[tuple[str | bytes, bytes]] = (),
    tensors: Sequence[bytes] = (),
    *,
    data: bytes = b"",
    version: int = 3,
    tensor_count: int | None = None,
    key_count: int | None = None,
) -> bytes:
    """A whole file; the counts may lie."""
    pairs = list(fields.items()) if isinstance(fields, Mapping) else list(fields)
    counts = (
        len(tensors) if tensor_count is None else tensor_count,
        len(pairs) if key_count is None else key_count,
    )
    head = b"GGUF" + struct.pack("<IQQ", version, *counts)
    head += b"".join(text(key) + raw for key, raw in pairs) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + data if tensors else head


def facts(architecture: str = "llama", **numbers: int | Sequence[int]) -> dict[str, bytes]:
    """Metadata of a model: `facts("llama", block_count=2)`; `attention__head_count` for attention.head_count."""
    found = {"general.architecture": field(TEXT, architecture)}
    for name, number in numbers.items():
        key = f"{architecture}.{name.replace('__', '.')}"
        if isinstance(number, bool):
            found[key] = field(BOOL, number)
        elif isinstance(number, int):
            found[key] = field(U32, number)
        else:
            found[key] = array(U32, list(number))
    return found


def put(folder: Path, raw: bytes, name: str = "model.gguf") -> Path:
    path = folder / name
    path.write_bytes(raw)
    return path
