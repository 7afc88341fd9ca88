"""Reading models.yaml into entries."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lanhaven.config import Settings
from lanhaven.config.yaml_text import Items, Node, Scalar, Table, parse, read_text
from lanhaven.models_file.fields import MOST_MODELS, ONE_MODEL, WHOLE_FILE
from lanhaven.models_file.values import Place
from lanhaven.providers.base import ModelEntry
from lanhaven.types.models import LoadConfig, Sampling

FILE_NAME = "models.yaml"


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
    return understood(content, path)


def understood(content: str, path: Path) -> ModelsFile:
    """The models in the text of a file. InvalidRequest as above."""
    return read_parsed(parse(content, path.name), path)


def read_parsed(table: Table, path: Path) -> ModelsFile:
    """The models in a mapping that has been parsed already."""
    place = Place(path.name, "")
    top = WHOLE_FILE(table, place)
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
    said = ONE_MODEL(node, place)
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
