"""What LM Studio says of its models, over either protocol, in our words. What is malformed is passed over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lanhaven.providers.hosts.reading import count, mapping, objects, text
from lanhaven.types.models import LoadConfig, ModelInfo, ModelKind

_MLX = frozenset({"safetensors", "mlx_placeholder", "torch_safetensors"})  # how LM Studio writes MLX on the wire


@dataclass(frozen=True, slots=True)
class Studied:
    """A model that an LM Studio has. key: its modelKey there. path: publisher/repository[/file], below its folder."""

    key: str
    kind: ModelKind
    path: str = ""
    format: str = ""
    size_bytes: int = 0
    max_context: int | None = None
    quantization: str | None = None
    architecture: str | None = None
    tools: bool = False
    description: str = ""

    def info(self, key: str, provider: str, host: str, aliases: tuple[str, ...] = ()) -> ModelInfo:
        """As a model of the catalog, by the name `key`."""
        return ModelInfo(
            key=key,
            provider=provider,
            kind=self.kind,
            format=self.format,
            size_bytes=self.size_bytes,
            max_context=self.max_context,
            quantization=self.quantization,
            architecture=self.architecture,
            capabilities=capabilities(self.kind, tools=self.tools),
            aliases=aliases,
            description=self.description,
            config={"host": host, "model": self.key},
        )


@dataclass(frozen=True, slots=True)
class Running:
    """An instance that an LM Studio has loaded."""

    identifier: str
    model: str  # modelKey
    embedding: bool
    size_bytes: int = 0
    config: LoadConfig = LoadConfig()


def capabilities(kind: ModelKind, *, tools: bool) -> frozenset[str]:
    if kind is ModelKind.EMBEDDING:
        return frozenset({"embedding"})
    seeing = {"vision"} if kind is ModelKind.VLM else set()
    return frozenset({"chat", "completion", *seeing, *(("tools",) if tools else ())})


def downloaded(answer: Any) -> tuple[Studied, ...]:
    """Of `listDownloadedModels`."""
    return tuple(each for said in objects(answer) if (each := _studied(said)) is not None)


def loaded(answer: Any, *, embedding: bool) -> tuple[Running, ...]:
    """Of `listLoaded`."""
    return tuple(each for said in objects(answer) if (each := instance(said, embedding=embedding)) is not None)


def instance(said: Mapping[str, Any], *, embedding: bool) -> Running | None:
    """Of one InstanceInfo; None if it has no name."""
    identifier, key = text(said.get("identifier")), text(said.get("modelKey"))
    if not identifier or not key:
        return None
    config = LoadConfig(context_length=count(said.get("contextLength")))  # its TTL is LM Studio's own business
    return Running(identifier, key, embedding, count(said.get("sizeBytes")) or 0, config)


def of_rest(answer: Any) -> tuple[tuple[Studied, ...], tuple[Running, ...]]:
    """Of `GET /api/v1/models`: the models, and what is loaded of them."""
    models: list[Studied] = []
    running: list[Running] = []
    for said in objects(answer.get("models") if isinstance(answer, Mapping) else None):
        key = text(said.get("key"))
        if not key:
            continue
        able, quantization = mapping(said.get("capabilities")), mapping(said.get("quantization"))
        model = Studied(
            key=key,
            kind=_kind(said.get("type"), able.get("vision")),
            format=text(said.get("format")),
            size_bytes=count(said.get("size_bytes")) or 0,
            max_context=count(said.get("max_context_length")),
            quantization=text(quantization.get("name")) or None,
            architecture=text(said.get("architecture")) or None,
            tools=able.get("trained_for_tool_use") is True,
            description=text(said.get("description")),
        )
        models.append(model)
        running += _rest_instances(said, model)
    return tuple(models), tuple(running)


def _rest_instances(said: Mapping[str, Any], model: Studied) -> Iterator[Running]:
    for each in objects(said.get("loaded_instances")):
        if identifier := text(each.get("id")):
            config = rest_config(each.get("config"))
            yield Running(identifier, model.key, model.kind is ModelKind.EMBEDDING, model.size_bytes, config)


def rest_config(value: Any) -> LoadConfig:
    """Of a `config` or `load_config` of the REST API."""
    said = mapping(value)
    flash = said.get("flash_attention")
    return LoadConfig(
        context_length=count(said.get("context_length")),
        slots=count(said.get("parallel")),
        flash_attention=flash if isinstance(flash, bool) else None,
    )


def _studied(said: Mapping[str, Any]) -> Studied | None:
    key, kind = text(said.get("modelKey")), text(said.get("type"))
    if not key or kind not in ("llm", "embedding"):
        return None
    form = text(said.get("format"))
    return Studied(
        key=key,
        kind=_kind(kind, said.get("vision")),
        path=text(said.get("path")),
        format="mlx" if form in _MLX else form,
        size_bytes=count(said.get("sizeBytes")) or 0,
        max_context=count(said.get("maxContextLength")),
        quantization=text(mapping(said.get("quantization")).get("name")) or None,
        architecture=text(said.get("architecture")) or None,
        tools=said.get("trainedForToolUse") is True,
    )


def _kind(kind: Any, vision: Any) -> ModelKind:
    if kind == "embedding":
        return ModelKind.EMBEDDING
    return ModelKind.VLM if vision is True else ModelKind.LLM
