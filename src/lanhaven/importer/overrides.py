"""`--override k=v`: values for every model that is imported, checked before anything is looked at (S4-08)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from lanhaven.config.yaml_text import Items, Node, Scalar
from lanhaven.errors import InvalidRequest
from lanhaven.models_file.fields import LOAD, SAMPLING, Fields
from lanhaven.models_file.values import Place, Reader, did_you_mean, integer, one_of, snake, spelled, truth


class CacheType(StrEnum):
    """The caches of mlx."""

    STANDARD = "standard"
    ROTATING = "rotating"
    QUANTIZED = "quantized"


BOTH = frozenset({"gguf", "mlx"})
_GGUF, _MLX = frozenset({"gguf"}), frozenset({"mlx"})

# Settings of the engines' own, and which formats have them.
CONFIG: Mapping[str, tuple[Reader[Any], frozenset[str]]] = MappingProxyType(
    {
        "n_batch": (integer(32, 1 << 20), BOTH),
        "cache_ram_mib": (integer(0, 1 << 24), BOTH),
        "use_mmap": (truth, _GGUF),
        "check_tensors": (truth, _GGUF),
        "cache_type": (one_of(CacheType), _MLX),
        "max_kv_size": (integer(1, 1 << 24), _MLX),
        "kv_bits": (integer(2, 8), _MLX),
        "kv_group_size": (integer(32, 128), _MLX),
        "quantized_kv_start": (integer(0, 1 << 24), _MLX),
        "num_draft_tokens": (integer(1, 64), _MLX),
    }
)
ENTRY: Fields = MappingProxyType({"enabled": truth, "pinned": truth, "preload": truth})
# Names of other programs, and ours.
ALSO: Mapping[str, str] = MappingProxyType(
    {
        "n_ctx": "context_length",
        "n_gpu_layers": "gpu_layers",
        "n_threads": "cpu_threads",
        "threads": "cpu_threads",
        "repetition_penalty": "repeat_penalty",
        "num_predict": "max_tokens",
        "rope_freq_base": "rope_frequency_base",
        "rope_freq_scale": "rope_frequency_scale",
        "ttl": "idle_ttl",
        "stop_strings": "stop",
    }
)
_GPU: Mapping[str, str] = MappingProxyType({"gpu_ratio": "ratio", "gpu_layers": "layers"})
_LOADABLE = frozenset(LOAD) - {"gpu"}


@dataclass(frozen=True, slots=True)
class Override:
    """One value. section: "" (the entry itself), "load", "defaults" or "config"; name: as models.yaml spells it."""

    section: str
    name: str
    value: Any
    formats: frozenset[str] = BOTH


def read_overrides(texts: Iterable[str]) -> tuple[Override, ...]:
    """InvalidRequest for what is no k=v, an unknown key (it names the known ones), or a value that does not fit."""
    overrides = tuple(_read(text) for text in texts)
    said = {each.name: each.value for each in overrides}
    kind = said.get("cache_type", "rotating" if "max_kv_size" in said else "quantized")
    clash = {"max_kv_size": kind != "rotating", "kv_bits": kind != "quantized"}
    double = next((name for name, clashes in clash.items() if clashes and name in said), None)
    if double is not None:
        hint = "mlx's caches: rotating with max_kv_size, or quantized with kv_bits"
        raise InvalidRequest(f"--override {double}: does not go with a {kind} cache", param="override", hint=hint)
    if kind == "rotating" and "cache_type" in said and "max_kv_size" not in said:
        raise InvalidRequest(
            "--override cache_type=rotating: needs max_kv_size", param="override", hint="max_kv_size=4096"
        )
    return overrides


def known_keys() -> tuple[str, ...]:
    """Every key, as the command's manual lists them."""
    return tuple(sorted({*ENTRY, *_LOADABLE, *SAMPLING, *CONFIG}))


def _read(text: str) -> Override:
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise InvalidRequest(
            f"--override {text}: is not key=value", param="override", hint="--override temperature=0.5"
        )
    name = ALSO.get(snake(key.strip()), snake(key.strip()))
    node: Node = Scalar(value.strip(), quoted=False, line=0)
    if name in ENTRY:
        return Override("", name, _value(ENTRY[name], node, text))
    if name in _GPU:
        if name == "gpu_layers" and value.strip() == "-1":  # llama-cpp-python says so that all are meant
            return Override("load", "gpu", {"ratio": 1.0})
        return Override("load", "gpu", {_GPU[name]: _value(LOAD[name], node, text)})
    if name in _LOADABLE:
        return Override("load", "ttl" if name == "idle_ttl" else spelled(name), _value(LOAD[name], node, text))
    if name in SAMPLING:
        if name == "stop":
            node = Items([Scalar(each, quoted=True, line=0) for each in value.split(",")], line=0)
        return Override("defaults", spelled(name), _value(SAMPLING[name], node, text))
    if name in CONFIG:
        reader, formats = CONFIG[name]
        return Override("config", name, _value(reader, node, text), formats)
    near = did_you_mean(name, known_keys())
    others = "" if near.startswith("known") else f" Known: {', '.join(known_keys())}."
    raise InvalidRequest(f"--override {text}: {key} is not known.{others}", param="override", hint=near)


def _value(reader: Reader[Any], node: Node, text: str) -> Any:
    try:
        return reader(node, Place("--override", text.partition("=")[0]))
    except InvalidRequest as error:
        reason = error.message.partition(": ")[2] or error.message
        raise InvalidRequest(f"--override {text}: {reason}", param="override", hint=error.hint) from None
