"""The header of a safetensors file, read without trusting it.

Layout: u64 length of the header (little endian), the header as a JSON object, the data. Every entry is
`{"dtype", "shape", "data_offsets": [begin, end]}`, offsets counted from the end of the header.
Source: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import msgspec

from lanhaven.formats.gguf_source import Reason, bad, open_regular

HEADER_LIMIT = 16 << 20  # bytes; a model of 1,000 tensors has about 0.1 MB
_LENGTH = struct.Struct("<Q")
_BYTES: Mapping[str, int] = MappingProxyType(
    {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2}
    | {"I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8}
)

_Natural = Annotated[int, msgspec.Meta(ge=0)]


class _Entry(msgspec.Struct):
    dtype: str
    shape: Annotated[list[_Natural], msgspec.Meta(max_length=8)]
    data_offsets: tuple[_Natural, _Natural]


class _Head(msgspec.Struct):
    metadata: dict[str, str] = msgspec.field(name="__metadata__", default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor of the file: slowest dimension first, `offset` and `size` in bytes from the beginning of the file."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int


def read_safetensors(path: Path) -> Mapping[str, StoredTensor]:
    """The tensors of `path` by name. Raises InvalidModelFile for everything that is wrong with it."""
    text, file_size = _head(path)
    begin = _LENGTH.size + len(text)
    return MappingProxyType({name: _stored(name, entry, begin, file_size) for name, entry in _entries(text).items()})


def written_format(path: Path) -> str | None:
    """What the file says it was written for, in its metadata: "mlx", "pt"; None if nothing. Raises as above."""
    try:
        said = msgspec.json.decode(_head(path)[0], type=_Head).metadata
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise bad(Reason.MALFORMED, "The header of the safetensors file is damaged.") from None
    return said.get("format")


def _head(path: Path) -> tuple[bytes, int]:
    """The header as it stands there, and the size of the file."""
    try:
        with open_regular(path) as file:
            file_size = os.fstat(file.fileno()).st_size
            head = file.read(_LENGTH.size) or b""
            length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
            if not 2 <= length <= HEADER_LIMIT:
                raise bad(Reason.MALFORMED, "The file is not a safetensors model: the length of its header is wrong.")
            text = file.read(length) or b""
    except (OSError, ValueError):
        raise bad(Reason.UNREADABLE, "The safetensors file cannot be read.") from None
    if len(text) < length:
        raise bad(Reason.TRUNCATED, "The safetensors file is cut off.")
    return text, file_size


def _entries(text: bytes) -> dict[str, _Entry]:
    try:
        raw = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        return {name: msgspec.json.decode(entry, type=_Entry) for name, entry in raw.items() if name != "__metadata__"}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise bad(Reason.MALFORMED, "The header of the safetensors file is damaged.") from None


def _stored(name: str, entry: _Entry, begin: int, file_size: int) -> StoredTensor:
    first, last = entry.data_offsets
    size = _BYTES.get(entry.dtype)
    if size is not None and last - first != size * prod(entry.shape):
        raise bad(
            Reason.MALFORMED, "A tensor of the safetensors file has another size than its shape says.", tensor=name
        )
    if first > last or begin + last > file_size:
        raise bad(Reason.TRUNCATED, "The safetensors file is cut off.", tensor=name)
    return StoredTensor(entry.dtype, tuple(entry.shape), begin + first, last - first)
