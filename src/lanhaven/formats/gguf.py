"""The header of a GGUF file, read without trusting it.

A model file is hostile input. So every count, length and offset is checked against a limit and against the size of the
file before it is used, vocabularies are stepped over and never built, and whatever is wrong ends in `InvalidModelFile`
with one fixed word in `facts["reason"]`. What llama.cpp would refuse later (nested arrays, double keys, tensors out of
bounds) is refused here, before a process is started for it.

Layout (little endian): magic, u32 version, u64 tensors, u64 keys; per key: string, u32 type, value; per tensor:
string, u32 dimensions, u64 per dimension, u32 type, u64 offset; padding; data.
Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from lanhaven.formats.ggml import TENSOR_TYPES
from lanhaven.formats.gguf_source import Reason, Skipped, Source, bad, open_regular

LONGEST_NUMBERS = 4096  # values per layer and the like are kept, scores and token types are skipped
LONGEST_TEXTS = 64  # tags and languages are kept, tokens and merges are skipped
MAX_KEYS = 1 << 14
MAX_TENSORS = 1 << 15  # DeepSeek-R1 has 1,025
MAX_NAME = 255
MAX_DIMENSIONS = 4

_TEXT, _ARRAY = 8, 9
# 8 and 9 are _TEXT and _ARRAY
_SCALARS: Mapping[int, struct.Struct] = MappingProxyType(
    {number: struct.Struct("<" + code) for number, code in zip((*range(8), 10, 11, 12), "BbHhIif?Qqd", strict=True)}
)
_U32, _U64, _COUNTS, _ARRAY_HEAD, _PLACE = (struct.Struct("<" + code) for code in ("I", "Q", "QQ", "IQ", "IQ"))

Value = bool | int | float | str | tuple[bool | int | float | str, ...] | Skipped


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of the file. `offset` counts from `GGUFHeader.data_offset`; `size` is None for a type unknown here."""

    name: str
    dimensions: tuple[int, ...]
    type: int
    offset: int
    size: int | None

    @property
    def elements(self) -> int:
        """Number of values."""
        count = 1
        for dimension in self.dimensions:
            count *= dimension
        return count


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    """Everything before the tensor data, and which file it was (size in bytes, mtime in ns, as of the reading)."""

    version: int
    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...]
    alignment: int
    data_offset: int
    file_size: int
    mtime_ns: int

    def text(self, key: str) -> str | None:
        """The value of `key` if it is a text."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None

    def integer(self, key: str) -> int | None:
        """The value of `key` if it is an integer that is not negative."""
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None

    def flag(self, key: str) -> bool | None:
        """The value of `key` if it is a bool."""
        value = self.metadata.get(key)
        return value if isinstance(value, bool) else None

    def integers(self, key: str) -> tuple[int, ...] | None:
        """The value of `key` if it is an array of integers (or bools) that are not negative."""
        value = self.metadata.get(key)
        if not isinstance(value, tuple) or not all(isinstance(item, int) and item >= 0 for item in value):
            return None
        return tuple(int(item) for item in value)

    def length(self, key: str) -> int | None:
        """How many elements the array `key` has, kept or skipped."""
        match self.metadata.get(key):
            case Skipped(length):
                return length
            case tuple() as items:
                return len(items)
            case _:
                return None


def read_header(path: Path) -> GGUFHeader:
    """Read and check the header of `path`. Blocking, some milliseconds: call it in a thread from async code.

    Raises InvalidModelFile, and nothing else.
    """
    try:
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            return _read(Source(file, status.st_size), status.st_mtime_ns)
    except FileNotFoundError:
        raise bad(Reason.MISSING, "The model file does not exist.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        detail = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise bad(Reason.UNREADABLE, f"The model file cannot be read: {detail}.") from None


def _read(source: Source, mtime_ns: int) -> GGUFHeader:
    version = _read_version(source)
    tensor_count, key_count = _COUNTS.unpack(source.take(16))
    if key_count > MAX_KEYS or tensor_count > MAX_TENSORS:
        raise bad(Reason.OVER_LIMIT, f"The model file claims {tensor_count} tensors and {key_count} metadata keys.")
    metadata: dict[str, Value] = {}
    for _ in range(key_count):
        key = source.name(65535)
        if key in metadata:
            raise bad(Reason.MALFORMED, "A metadata key stands twice in the model file.")
        metadata[key] = _read_value(source, source.number(_U32))
    alignment = _alignment(metadata)
    tensors = tuple(_read_tensor(source, alignment) for _ in range(tensor_count))
    data_offset = -(-source.position // alignment) * alignment
    _check_tensors(tensors, source.size - data_offset)
    return GGUFHeader(version, MappingProxyType(metadata), tensors, alignment, data_offset, source.size, mtime_ns)


def _read_version(source: Source) -> int:
    if source.size == 0:
        raise bad(Reason.EMPTY, "The model file is empty.")
    if source.size < 4 or source.take(4) != b"GGUF":
        raise bad(Reason.NOT_GGUF, "The file is not a GGUF model: it does not begin with the letters GGUF.")
    version = source.number(_U32)
    if version & 0xFFFF == 0 and version:
        raise bad(Reason.BIG_ENDIAN, "The model file was written for a big-endian machine.")
    if version not in (2, 3):
        raise bad(Reason.VERSION, f"The model file has GGUF version {version}; 2 and 3 are supported.")
    return version


def _read_value(source: Source, kind: int) -> Value:
    if kind == _TEXT:
        return source.text()
    if kind == _ARRAY:
        return _read_array(source)
    value: bool | int | float = _scalar(kind).unpack(source.take(_scalar(kind).size))[0]
    return value


def _scalar(kind: int) -> struct.Struct:
    try:
        return _SCALARS[kind]
    except KeyError:
        raise bad(Reason.MALFORMED, f"The model file has a metadata value of unknown type {kind}.") from None


def _read_array(source: Source) -> Value:
    kind, count = _ARRAY_HEAD.unpack(source.take(12))
    if kind == _ARRAY:  # allowed by the format, refused by llama.cpp, written by nobody
        raise bad(Reason.MALFORMED, "The model file has an array within an array in its metadata.")
    if kind == _TEXT:
        source.spend_texts(count)
        if count > LONGEST_TEXTS:
            source.skip_texts(count)
            return Skipped(count)
        texts = [source.text() for _ in range(count)]
        return tuple(text for text in texts if isinstance(text, str))
    item = _scalar(kind)
    if count > LONGEST_NUMBERS:
        source.skip(count * item.size)
        return Skipped(count)
    raw = source.keep(count * item.size)
    return tuple(value for (value,) in item.iter_unpack(raw))


def _alignment(metadata: Mapping[str, Value]) -> int:
    value = metadata.get("general.alignment", 32)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 1 << 20 or value & (value - 1):
        raise bad(Reason.MALFORMED, "The alignment of the model file is not a power of two.")
    return value


def _read_tensor(source: Source, alignment: int) -> Tensor:
    name = source.name(MAX_NAME)
    dimension_count = source.number(_U32)
    if dimension_count > MAX_DIMENSIONS:
        raise bad(Reason.MALFORMED, f"A tensor of the model file has {dimension_count} dimensions.", tensor=name)
    dimensions = struct.unpack(f"<{dimension_count}Q", source.take(8 * dimension_count))
    kind, offset = _PLACE.unpack(source.take(12))
    if offset % alignment:
        raise bad(Reason.MALFORMED, "A tensor of the model file is not aligned.", tensor=name)
    return Tensor(name, dimensions, kind, offset, _tensor_size(name, dimensions, kind))


def _tensor_size(name: str, dimensions: tuple[int, ...], kind: int) -> int | None:
    if kind not in TENSOR_TYPES:  # the engine may be newer than this table: it has the last word
        return None
    _, block, block_bytes = TENSOR_TYPES[kind]
    first = dimensions[0] if dimensions else 1
    if first % block:
        raise bad(Reason.MALFORMED, "The rows of a tensor are no whole number of blocks.", tensor=name)
    size = first // block * block_bytes
    for dimension in dimensions[1:]:
        size *= dimension
    return size


def _check_tensors(tensors: tuple[Tensor, ...], data_size: int) -> None:
    names = {tensor.name for tensor in tensors}
    if len(names) != len(tensors):
        raise bad(Reason.MALFORMED, "A tensor stands twice in the model file.")
    for tensor in tensors:
        missing = tensor.offset + (tensor.size or 0) - data_size
        if missing > 0:
            raise bad(
                Reason.TRUNCATED,
                "The model file is cut off: the data of a tensor lies beyond its end. Fetch it again.",
                tensor=tensor.name,
                missing_bytes=missing,
            )
