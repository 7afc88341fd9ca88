"""From models that were found to entries of models.yaml (S4-x4). Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lanhaven.importer.found import Found, shown
from lanhaven.importer.overrides import Override
from lanhaven.importer.profiles import Parts
from lanhaven.models_file.fields import LONGEST_CONTEXT, MOST_ALIASES
from lanhaven.types.models import ModelKind, parameters_in

HUGE, LARGE, SMALL = 30_000_000_000, 13_000_000_000, 3_000_000_000  # bytes
LONG_CONTEXT, SHORT_CONTEXT = 8192, 4096  # tokens; the short one where the weights take most of the memory
BATCH = 512
QUANTIZED_ONLY = ("kv_bits", "kv_group_size", "quantized_kv_start")
_INSTRUCT = re.compile(r"(?<![a-z])(instruct|chat|it|assistant)(?![a-z])", re.IGNORECASE)
_DRAFT = re.compile(r"(?<![a-z])draft(?![a-z])", re.IGNORECASE)
_FAMILIES = ("codellama", "tinyllama", "smollm", "smolvlm", "llama", "qwen", "mixtral", "ministral", "mistral", "gemma")
_MORE_FAMILIES = ("phi", "deepseek", "granite", "falcon", "olmo", "command", "starcoder", "yi", "internlm", "glm")
_ALL_FAMILIES = (*_FAMILIES, *_MORE_FAMILIES, "gpt-oss", "minilm", "nomic", "bge", "jina", "llava", "pixtral")
_FAMILY = re.compile(rf"(?<![a-z])({'|'.join(_ALL_FAMILIES)})", re.IGNORECASE)
_WHOLE_NUMBERS = frozenset({"F32", "F16", "BF16", "F64"})


def entry_of(
    found: Found, name: str, aliases: Sequence[str], profile: Parts, overrides: Sequence[Override], *, enabled: bool
) -> dict[str, Any]:
    """The entry. What is laid over what: size rules, what came with the model, the profile, overrides."""
    writes = found.kind in (ModelKind.LLM, ModelKind.VLM)
    entry: dict[str, Any] = {
        "id": name,
        "provider": "llama_cpp" if found.format == "gguf" else "mlx",
        "enabled": enabled,
        "description": description(found),
        "tags": tags(found),
        "aliases": list(aliases[:MOST_ALIASES]),
        "load": _load(found),
        "defaults": {**found.said} if writes else {},
        "config": _config(found),
    }
    if writes:
        entry["load"] |= bounded(profile.load, found.max_context)
        entry["defaults"] |= profile.defaults
        entry["config"] |= profile.config
    for override in overrides:
        if found.format in override.formats and (writes or override.section != "defaults"):
            (entry[override.section] if override.section else entry)[override.name] = override.value
    if found.format == "mlx":
        entry["config"] = one_cache(entry["config"], {each.name for each in overrides if each.section == "config"})
    return {key: value for key, value in entry.items() if value not in ([], {})}


def one_cache(config: Mapping[str, Any], wished: Collection[str]) -> dict[str, Any]:
    """Without settings of another kind of cache than the one that was asked for: mlx refuses two kinds in one."""
    kind = "rotating" if "max_kv_size" in wished and "cache_type" not in wished else config.get("cache_type")
    others = {"rotating": QUANTIZED_ONLY, "standard": (*QUANTIZED_ONLY, "max_kv_size"), "quantized": ("max_kv_size",)}
    left = {key: value for key, value in config.items() if key in wished or key not in others.get(str(kind), ())}
    return left | {"cache_type": kind} if kind else left


def description(found: Found) -> str:
    """What it is, for people: "SmolLM2 135M Instruct, Q4_1, 98 MB, from ollama"."""
    gigabytes = found.size_bytes / 1e9
    size = f"{gigabytes:.1f} GB" if gigabytes >= 1 else f"{found.size_bytes / 1e6:.0f} MB"
    title = shown(" ".join((found.title or found.named.id).split()))[:120]
    return ", ".join(part for part in (title, found.quantization, size, f"from {found.store.value}") if part)


def tags(found: Found) -> list[str]:
    """What it is, for filters."""
    name = f"{found.named.id} {' '.join(found.named.aliases)} {found.title or ''}"
    quantized = found.quantization is not None and found.quantization not in _WHOLE_NUMBERS
    marks = {
        found.format: True,
        family(name, found.architecture): True,
        "vision": found.sees,
        "tools": found.tools,
        "instruct": found.kind in (ModelKind.LLM, ModelKind.VLM) and bool(_INSTRUCT.search(name)),
        "draft": bool(_DRAFT.search(name)),
        "quantized": quantized,
        "large": found.size_bytes > LARGE,
        "small": found.size_bytes < SMALL,
        "embedding": found.kind is ModelKind.EMBEDDING,
        "reranker": found.kind is ModelKind.RERANKER,
        (parameters_in(name) or "").lower(): True,
    }
    return [tag for tag, holds in marks.items() if holds and tag]


def family(name: str, architecture: str) -> str:
    """ "qwen" of Qwen2.5-Coder: by its name, for many call their architecture llama; else the architecture."""
    match = _FAMILY.search(name) or _FAMILY.search(architecture)
    return match[1].lower() if match else re.sub(r"[^a-z0-9_.-]", "", architecture.lower())[:40]


def bounded(load: Mapping[str, Any], most: int | None) -> dict[str, Any]:
    """With a context that the model has, and models.yaml takes."""
    length = load.get("contextLength")
    return {**load} if length is None else {**load, "contextLength": min(length, most or length, LONGEST_CONTEXT)}


def _load(found: Found) -> dict[str, Any]:
    if found.format == "mlx":
        return {}
    length = found.context or (SHORT_CONTEXT if found.size_bytes > LARGE else LONG_CONTEXT)
    if found.kind in (ModelKind.EMBEDDING, ModelKind.RERANKER):
        length = found.max_context or length
    load = bounded({"contextLength": length, "gpu": {"ratio": 1.0}}, found.max_context)
    return load | ({"kvType": "q8_0"} if found.size_bytes > HUGE else {})


def _config(found: Found) -> dict[str, Any]:
    config: dict[str, Any] = {"model_path": str(found.path)}
    if found.format == "mlx":
        return config | _cache(found.size_bytes)
    if found.projector is not None:
        config["mmproj_path"] = str(found.projector)
    if found.sees:
        config["vision"] = True
    return config | {"n_batch": BATCH, "use_mmap": True}


def _cache(size: int) -> dict[str, Any]:
    """Large models leave little room for what they remember."""
    if size > HUGE:
        return {"cache_type": "quantized", "kv_bits": 4}
    return {"cache_type": "quantized", "kv_bits": 8} if size > LARGE else {}
