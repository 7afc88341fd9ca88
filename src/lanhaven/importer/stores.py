"""Where programs keep their models on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from lanhaven.errors import InvalidModelFile
from lanhaven.formats.gguf_source import open_regular
from lanhaven.importer.found import Root, Store

_SETTINGS_LIMIT = 1 << 20  # bytes


class _LMStudioSettings(msgspec.Struct):
    downloads: str = msgspec.field(name="downloadsFolder", default="")


def known_stores(environment: Mapping[str, str], home: Path) -> tuple[Root, ...]:
    """The folders that are there, each once."""
    wanted = [
        *(Root(path, Store.LMSTUDIO) for path in _lmstudio(home)),
        *(Root(path, Store.OLLAMA) for path in _ollama(environment, home)),
        *(Root(path, Store.HF_CACHE) for path in _hf_cache(environment, home)),
    ]
    found: dict[str, Root] = {}
    for root in wanted:
        if root.path.is_absolute() and _is_folder(root.path):
            found.setdefault(os.path.realpath(root.path), root)
    return tuple(found.values())


def _hf_cache(environment: Mapping[str, str], home: Path) -> Iterator[Path]:
    """The hub's own variables, then the folders of S4-x2."""
    if hub := environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE"):
        yield Path(hub)
    if base := environment.get("HF_HOME"):
        yield Path(base, "hub")
    if cache := environment.get("XDG_CACHE_HOME"):
        yield Path(cache, "huggingface/hub")
    yield home / ".cache/huggingface/hub"
    yield home / "Library/Caches/huggingface/hub"
    yield home / ".huggingface/hub"


def _ollama(environment: Mapping[str, str], home: Path) -> Iterator[Path]:
    if models := environment.get("OLLAMA_MODELS"):
        yield Path(models)
    yield home / ".ollama/models"
    yield Path("/usr/share/ollama/.ollama/models")  # where the service on Linux keeps them


def _lmstudio(home: Path) -> Iterator[Path]:
    """The folder that its user chose, then the usual one, then that of older versions."""
    pointed = _small_text(home / ".lmstudio-home-pointer").strip()
    for base in dict.fromkeys([*([Path(pointed)] if pointed else []), home / ".lmstudio", home / ".cache/lm-studio"]):
        if chosen := _downloads(base / "settings.json"):
            yield Path(chosen)
        yield base / "models"


def _downloads(settings: Path) -> str:
    try:
        return msgspec.json.decode(_small_text(settings) or "{}", type=_LMStudioSettings).downloads
    except msgspec.DecodeError:
        return ""


def _small_text(path: Path) -> str:
    try:
        with open_regular(path) as file:
            return (file.read(_SETTINGS_LIMIT) or b"").decode(errors="replace")
    except (OSError, ValueError, InvalidModelFile):
        return ""


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
