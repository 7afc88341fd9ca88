"""Folders as other programs leave them, with models that are headers only."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lanhaven.importer import Limits, Root, Scan, Store, scan
from tests.formats.gguf_files import BOOL, TEXT, U16, U32, facts, field, gguf

IMAGE = "application/vnd.ollama.image."


def model(name: str = "Tiny Instruct", file_type: int = 15, **numbers: int) -> bytes:
    """A chat model: Q4_K_M, context 4096, 64 values wide. A name makes it a file of its own."""
    sizes = {"context_length": 4096, "embedding_length": 64, "block_count": 2, **numbers}
    texts = {"general.name": field(TEXT, name), "tokenizer.chat_template": field(TEXT, "{{ messages }}")}
    return gguf(facts("llama", **sizes) | texts | {"general.file_type": field(U32, file_type)})


def part(number: int, count: int) -> bytes:
    split = {"split.no": field(U16, number), "split.count": field(U16, count)}
    return gguf(facts("llama", context_length=4096) | split)


def projector(width: int = 64, name: str = "eyes") -> bytes:
    sight = {"clip.has_vision_encoder": field(BOOL, True), "clip.vision.projection_dim": field(U32, width)}
    return gguf(facts("clip") | sight | {"general.name": field(TEXT, name)})


def put(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def mlx(folder: Path, config: Mapping[str, Any] | None = None, written_for: str = "mlx") -> Path:
    """An MLX folder of one tensor."""
    header: dict[str, Any] = {"w": {"dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8]}}
    raw = json.dumps({"__metadata__": {"format": written_for}, **header}).encode()
    put(folder / "model.safetensors", struct.pack("<Q", len(raw)) + raw + bytes(8))
    plain = {"model_type": "qwen2", "num_hidden_layers": 2, "max_position_embeddings": 2048}
    put(folder / "config.json", json.dumps(plain | dict(config or {"quantization": {"bits": 4, "group_size": 64}})))
    put(folder / "tokenizer.json", "{}")
    put(folder / "tokenizer_config.json", json.dumps({"chat_template": "{{ messages }}"}))
    return folder


def hf(
    cache: Path, repository: str, files: Mapping[str, bytes], revision: str = "a" * 40, *, main: bool = True
) -> Path:
    """A repository in the hub's cache; its folder. Files are blobs, and links to them in the snapshot."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    for name, content in files.items():
        blob = put(folder / "blobs" / hashlib.sha256(content).hexdigest(), content)
        link(folder / "snapshots" / revision / name, blob)
    if main:
        put(folder / "refs" / "main", revision)
    return folder


def link(at: Path, target: Path) -> Path:
    """A link as the hub's library makes it: relative."""
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to(
        Path(*[".."] * len(at.parent.relative_to(common(at, target)).parts), target.relative_to(common(at, target)))
    )
    return at


def common(one: Path, other: Path) -> Path:
    return next(each for each in one.parents if other.is_relative_to(each))


def blob(store: Path, content: bytes | str) -> str:
    """Its digest."""
    raw = content.encode() if isinstance(content, str) else content
    digest = hashlib.sha256(raw).hexdigest()
    put(store / "blobs" / f"sha256-{digest}", raw)
    return f"sha256:{digest}"


def ollama(store: Path, name: str, layers: Mapping[str, bytes | str], host: str = "registry.ollama.ai") -> Path:
    """A model in Ollama's store of old: kind of layer -> its content; the manifest."""
    model_name, _, tag = name.rpartition(":")
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "layers": [{"mediaType": IMAGE + kind, "digest": blob(store, c)} for kind, c in layers.items()],
        }
    )
    path = model_name if "/" in model_name else f"library/{model_name}"
    return put(store / "manifests" / host / path / tag, manifest)


def ollama_new(store: Path, name: str, layers: Mapping[str, bytes | str]) -> Path:
    """The same in the newer store: the manifest is a blob, the tag a link to it."""
    old = ollama(store, name, layers)
    digest = blob(store, old.read_bytes())
    tag = store / "manifest-v2" / "ollama.com" / old.relative_to(store / "manifests" / "registry.ollama.ai")
    old.unlink()
    return link(tag, store / "blobs" / digest.replace(":", "-"))


def looked(folder: Path, store: Store = Store.FOLDER, limits: Limits | None = None) -> Scan:
    return scan([Root(folder, store)], lambda entries, models: None, limits)


def ids(found: Scan) -> list[str]:
    return [each.named.id for each in found.found]


def reasons(found: Scan) -> dict[str, str]:
    """Last part of the path -> why it was left out."""
    return {each.path.rpartition("/")[2]: each.reason for each in found.left_out}
