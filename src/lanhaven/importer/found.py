"""What a look at the disk gives: models, and what was left out with the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from lanhaven.types.models import EMPTY, ModelKind


class Store(StrEnum):
    """Whose layout a folder has. It decides what models are called."""

    FOLDER = "folder"
    HF_CACHE = "hf-cache"
    LMSTUDIO = "lmstudio"
    OLLAMA = "ollama"


@dataclass(frozen=True, slots=True)
class Root:
    """A folder to look through."""

    path: Path
    store: Store = Store.FOLDER


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that is no model, or none that can be taken, and why. `path` is fit to be shown."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Named:
    """What a model is to be called: an id, further names for it, and what tells it from another of the same id."""

    id: str
    aliases: tuple[str, ...] = ()
    apart: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A model. `identity` is (device, inode) of its file or folder: the same file under two names is one model.

    said: sampling defaults that came with it, in models.yaml's spelling. remarks: what a person should know of it.
    """

    named: Named
    store: Store
    path: Path  # without links: the GGUF file (the first one of a split model), or the MLX folder
    identity: tuple[int, int]
    format: str  # "gguf", "mlx"
    kind: ModelKind
    size_bytes: int
    architecture: str
    quantization: str | None = None
    title: str | None = None
    max_context: int | None = None
    chats: bool = True
    tools: bool = False
    projector: Path | None = None
    sees: bool = False
    context: int | None = None  # tokens, as its store wants it loaded
    said: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scan:
    """All of one look."""

    found: tuple[Found, ...]
    left_out: tuple[LeftOut, ...]
    entries: int  # files and folders looked at


Progress = Callable[[int, int], None]  # (entries looked at, models found)


def shown(path: Path | str) -> str:
    """A path on one line, with what cannot be printed as escapes."""
    text = str(path)
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
