"""Reading models.yaml into entries."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lanhaven.config import Settings
from lanhaven.config.yaml_text import Items, Node, Scalar, Table, parse, read_text
from lanhaven.models_file.values import (
    Place,
    Reader,
    anything,
    integer,
    name,
    number,
    one_of,
    record,
    seconds,
    several,
    text,
    truth,
    word,
)
from lanhaven.providers.base import ModelEntry
from lanhaven.types.models import LoadConfig, Overflow, Sampling

MOST_MODELS = 5000
FILE_NAME = "models.yaml"

# Bounds of S0-x2 and S4-x8, with room above where hardware grows.
GPU: Mapping[str, Reader] = MappingProxyType({"ratio": number(0, 1), "layers": integer(0, 100_000)})
LOAD: Mapping[str, Reader] = MappingProxyType(
    {
        "context_length": integer(1, 1 << 24),
        "gpu": record(GPU),
        "gpu_ratio": GPU["ratio"],
        "gpu_layers": GPU["layers"],
        "cpu_threads": integer(1, 4096),
        "rope_frequency_base": number(0),
        "rope_frequency_scale": number(0),
        "slots": integer(1, 256),
        "flash_attention": truth,
        "kv_type": word,
        "idle_ttl": seconds,
    }
)
SAMPLING: Mapping[str, Reader] = MappingProxyType(
    {
        "temperature": number(0, 2),
        "top_p": number(0, 1),
        "top_k": integer(0, 1 << 20),
        "min_p": number(0, 1),
        "repeat_penalty": number(0),
        "max_tokens": integer(1, 1 << 30),
        "stop": several(text, 16),
        "seed": integer(-(1 << 63), (1 << 63) - 1),
        "stream": truth,
        "context_overflow": one_of(Overflow),
    }
)
ENTRY: Mapping[str, Reader] = MappingProxyType(
    {
        "id": name,
        "provider": word,
        "enabled": truth,
        "description": text,
        "tags": several(text, 64),
        "aliases": several(name, 64),
        "pinned": truth,
        "preload": truth,
        "ttl": seconds,
        "load": record(LOAD, ttl="idle_ttl", ttl_seconds="idle_ttl"),
        "defaults": record(SAMPLING, stop_strings="stop", repetition_penalty="repeat_penalty"),
        "config": anything,
    }
)
TOP: Mapping[str, Reader] = MappingProxyType(
    {"default_model": name, "max_loaded_models": integer(1, 1024), "models": lambda node, _: node}
)


@dataclass(frozen=True, slots=True)
class ModelsFile:
    """What a models.yaml says. Entries in the file's order, the disabled ones among them."""

    path: Path
    entries: tuple[ModelEntry, ...] = ()
    default_model: str | None = None
    max_loaded_models: int | None = None


def models_path(settings: Settings, folder: Path | None = None) -> Path:
    """The models file, there or not: the setting, else models.yaml here if there is one, else that of config_dir."""
    here = (folder or Path.cwd()) / FILE_NAME
    if settings.models_file is not None:
        return settings.models_file
    return here if here.is_file() else settings.config_dir / FILE_NAME


def read(path: Path) -> ModelsFile:
    """The file's models; a file that is not there has none. InvalidRequest "models.yaml:12: ..." where it is wrong."""
    try:
        content = read_text(path)
    except FileNotFoundError:
        return ModelsFile(path)
    return read_parsed(parse(content, path.name), path)


def read_parsed(table: Table, path: Path) -> ModelsFile:
    """The models in a mapping that has been parsed already."""
    place = Place(path.name, "")
    top = record(TOP)(table, place)
    nodes = _items(top.get("models", Items([], table.line)), place)
    entries: list[ModelEntry] = []
    lines: dict[str, int] = {}
    for index, node in enumerate(nodes):
        entry = _entry(node, Place(path.name, f"models[{index}]"), path.absolute().parent)
        if entry.id in lines:
            raise place.wrong(node, f"{entry.id!r} is listed in line {lines[entry.id]} already", "give it another id")
        lines[entry.id] = node.line
        entries.append(entry)
    return ModelsFile(path, tuple(entries), top.get("default_model"), top.get("max_loaded_models"))


def _items(node: Node, place: Place) -> list[Node]:
    if not isinstance(node, Items):
        raise place.inner("models").wrong(node, "must be a list", "begin each model with `- id: its-name`")
    if len(node.items) > MOST_MODELS:
        raise place.inner("models").wrong(node, f"has more than {MOST_MODELS} entries", "list fewer models")
    return node.items


def _entry(node: Node, place: Place, folder: Path) -> ModelEntry:
    said = record(ENTRY, ttl_seconds="ttl", idle_ttl="ttl")(node, place)
    if isinstance(node, Scalar) or "id" not in said or "provider" not in said:
        missing = "provider" if "id" in said else "id"
        raise place.wrong(node, f"has no {missing}", f"write `{missing}: ...` in this entry")
    load = said.get("load", {})
    if "ttl" in said and "idle_ttl" in load:
        raise place.wrong(node, "says its ttl twice, also in load", "keep one of them")
    if "gpu" in load and load.keys() & {"gpu_ratio", "gpu_layers"}:
        raise place.wrong(node, "says gpu twice in load, as a mapping and apart", "keep one of them")
    return ModelEntry(
        id=said["id"],
        provider=said["provider"],
        enabled=said.get("enabled", True),
        description=said.get("description", ""),
        aliases=said.get("aliases", ()),
        pinned=said.get("pinned", False),
        preload=said.get("preload", False),
        load=_load(load, said.get("ttl")),
        sampling=Sampling(**said.get("defaults", {})),
        config=_located(said.get("config", {}), folder),
    )


def _load(said: Mapping[str, Any], ttl: float | None) -> LoadConfig:
    gpu = said.get("gpu", {})
    apart = {"gpu_ratio": gpu.get("ratio"), "gpu_layers": gpu.get("layers"), "idle_ttl": ttl}
    return LoadConfig(**apart | {field: value for field, value in said.items() if field != "gpu"})


def _located(config: dict[str, Any], folder: Path) -> Mapping[str, Any]:
    """Paths as the writer meant them: "~" is the home folder; a relative path that exists beside the file is that one.

    Others stay as they are: `model_path: org/name` may be a name on the hub, which the provider knows.
    """
    return {key: _path(value, folder) if key.endswith("_path") else value for key, value in config.items()}


def _path(value: Any, folder: Path) -> Any:
    if not isinstance(value, str) or not value or "\0" in value:
        return value
    if value.startswith("~/"):
        return os.path.expanduser(value)  # noqa: PTH111 - Path.expanduser raises without a home folder
    beside = folder / value
    return str(beside) if os.path.exists(beside) else value  # noqa: PTH110 - Path.exists raises on a name too long
