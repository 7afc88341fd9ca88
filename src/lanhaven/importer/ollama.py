"""Ollama's store: manifests that name blobs by their hash, `blobs/sha256-HEX`.

The tree of names is `manifests/HOST/NAMESPACE/MODEL/TAG`; newer versions keep `manifest-v2/` with the same names, whose
manifests are blobs themselves, and the tags links to them or copies. Both may be there; the newer one is read first.
Source: https://github.com/ollama/ollama, server/manifest.go and types/model/name.go
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from lanhaven.importer.folders import of_gguf
from lanhaven.importer.found import Found, Named, Store
from lanhaven.importer.look import Listing, Look
from lanhaven.importer.naming import clean

TREES = ("manifest-v2", "manifests")
MANIFEST_LIMIT = 4 << 20  # bytes; a model of thousands of tensor layers has 1 MB
PARAMS_LIMIT = 1 << 16
OUR_HOSTS = frozenset({"registry.ollama.ai", "ollama.com"})
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_KIND = "application/vnd.ollama.image."
# Ollama's parameters as models.yaml spells them, with what they must be.
PARAMETERS: Mapping[str, tuple[str, tuple[type, ...]]] = MappingProxyType(
    {
        "temperature": ("temperature", (int, float)),
        "top_p": ("topP", (int, float)),
        "top_k": ("topK", (int,)),
        "min_p": ("minP", (int, float)),
        "repeat_penalty": ("repeatPenalty", (int, float)),
        "num_predict": ("maxTokens", (int,)),
        "seed": ("seed", (int,)),
        "stop": ("stop", (list,)),
    }
)


class _Layer(msgspec.Struct):
    media_type: str = msgspec.field(name="mediaType", default="")
    digest: str = ""


class _Manifest(msgspec.Struct):
    layers: list[_Layer] = msgspec.field(default_factory=list)


def is_store(listing: Listing) -> bool:
    """Whether the folder is one."""
    return "blobs" in listing.folders and any(tree in listing.folders for tree in TREES)


def models(look: Look, listing: Listing) -> Iterator[Found]:
    """Every model of the store. A name that both trees have is read once."""
    store = listing.folder
    told: set[str] = set()
    for tree in (each for each in TREES if each in listing.folders):
        for path in _tags(look, store / tree):
            name = name_of(path.relative_to(store / tree).parts)
            if name not in told:
                told.add(name)
                yield from _model(look, store, path, name)


def name_of(parts: tuple[str, ...]) -> str:
    """As Ollama's own commands show it: host and namespace only where they are not its own."""
    host, namespace, model, tag = parts
    owner = "" if namespace == "library" and host in OUR_HOSTS else f"{namespace}/"
    return clean(f"{'' if host in OUR_HOSTS else host + '/'}{owner}{model}:{tag}")


def _tags(look: Look, tree: Path) -> Iterator[Path]:
    """The files four levels down."""
    level = [tree]
    for _ in range(3):
        level = [each / name for each in level for name in look.folders(each)]
    for folder in level:
        yield from (folder / name for name in look.names(folder))


def _model(look: Look, store: Path, path: Path, name: str) -> Iterator[Found]:
    manifest = _manifest(look, path)
    if manifest is None:
        return
    weights = [layer for layer in manifest.layers if layer.media_type == _KIND + "model"]
    kinds = {layer.media_type.removeprefix(_KIND) for layer in manifest.layers}
    if not weights:
        reason = "kept as single tensors, which only Ollama reads" if "tensor" in kinds else "it names no model"
        return look.note(path, f"{name}: {reason}")
    if "adapter" in kinds:
        return look.note(path, f"{name}: an adapter over another model; llama.cpp is not given adapters here")
    blob = _blob(look, store, weights[0])
    read = look.gguf(blob) if blob else None
    if read is None:
        return look.note(path, f"{name}: its file cannot be taken")
    model, identity = read
    if model.kind is None:
        return look.note(path, f"{name}: its file is a projector and no model")
    projector = _projector(look, store, manifest)
    if projector is not None and not model.pairs_with(projector):
        look.note(path, f"{name}: its projector does not fit, so it is taken without")
        projector = None
    found = of_gguf(model, identity, Named(name), Store.OLLAMA, projector)
    yield _with_parameters(look, store, manifest, found)


def _manifest(look: Look, path: Path) -> _Manifest | None:
    data = look.text(path, MANIFEST_LIMIT)
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=_Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        look.note(path, "a damaged manifest; pull the model again with Ollama")
        return None


def _blob(look: Look, store: Path, layer: _Layer) -> Path | None:
    """Its file. A digest is 64 hexadecimal digits, so it leads nowhere else."""
    match = _DIGEST.fullmatch(layer.digest)
    return store / "blobs" / f"sha256-{match[1]}" if match else None


def _projector(look: Look, store: Path, manifest: _Manifest) -> Any:
    layer = next((each for each in manifest.layers if each.media_type == _KIND + "projector"), None)
    blob = _blob(look, store, layer) if layer else None
    read = look.gguf(blob) if blob else None
    return read[0] if read else None


def _with_parameters(look: Look, store: Path, manifest: _Manifest, found: Found) -> Found:
    remarks = list(found.remarks)
    said: dict[str, Any] = {}
    context: int | None = None
    for layer in manifest.layers:
        kind = layer.media_type.removeprefix(_KIND)
        if kind == "system":
            remarks.append("Ollama's system prompt of it is not taken over: clients send their own")
        if kind == "params" and (blob := _blob(look, store, layer)) is not None:
            given = _parameters(look.text(blob, PARAMS_LIMIT) or b"{}")
            said = {ours: given[name] for name, (ours, _) in PARAMETERS.items() if _fits(name, given.get(name))}
            number = given.get("num_ctx")
            context = number if type(number) is int and number > 0 else None
    return replace(found, said=said, context=context, remarks=tuple(remarks))


def _parameters(data: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _fits(name: str, value: Any) -> bool:
    """Whether models.yaml takes it: -1 and -2 of num_predict mean no limit, which is to say nothing here."""
    if type(value) not in PARAMETERS[name][1]:
        return False
    if name == "stop":
        return 0 < len(value) <= 16 and all(isinstance(each, str) and each for each in value)
    most = {"temperature": 2, "top_p": 1, "min_p": 1, "seed": (1 << 63) - 1}.get(name, 1 << 20)
    least = {"num_predict": 1, "seed": -1 << 63}.get(name, 0)
    return bool(least <= value <= most)
