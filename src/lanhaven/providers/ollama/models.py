"""What Ollama says of its models, in our words. What is malformed is passed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from lanhaven.providers.hosts.reading import count, mapping, objects, text
from lanhaven.types.models import ModelInfo, ModelKind

LATEST = ":latest"
_OURS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "completion": ("chat", "completion"),
        "tools": ("tools",),
        "vision": ("vision",),
        "thinking": ("thinking",),
        "embedding": ("embedding",),
    }
)


@dataclass(frozen=True, slots=True)
class Tagged:
    """A model that an Ollama has. name: with its tag. digest: another one is another model. capabilities: empty where
    they are not known."""

    name: str
    digest: str = ""
    format: str = ""
    size_bytes: int = 0
    max_context: int | None = None
    layers: int | None = None
    quantization: str | None = None
    architecture: str | None = None
    capabilities: frozenset[str] = frozenset()

    @property
    def kind(self) -> ModelKind:
        if "embedding" in self.capabilities and "chat" not in self.capabilities:
            return ModelKind.EMBEDDING
        return ModelKind.VLM if "vision" in self.capabilities else ModelKind.LLM

    def info(self, key: str, provider: str, host: str, aliases: tuple[str, ...] = ()) -> ModelInfo:
        """As a model of the catalog, by the name `key`."""
        return ModelInfo(
            key=key,
            provider=provider,
            kind=self.kind,
            format=self.format,
            size_bytes=self.size_bytes,
            max_context=self.max_context,
            layers=self.layers,
            quantization=self.quantization,
            architecture=self.architecture,
            capabilities=self.capabilities,
            aliases=aliases,
            config={"host": host, "model": self.name},
        )


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is in memory."""

    name: str
    size_bytes: int = 0
    context_length: int | None = None


def tagged(name: str) -> str:
    """Ollama's names have a tag."""
    return name if ":" in name.rpartition("/")[2] else f"{name}{LATEST}"


def of_tags(answer: Mapping[str, Any]) -> tuple[Tagged, ...]:
    """Of `GET /api/tags`."""
    found: list[Tagged] = []
    for said in objects(answer.get("models")):
        if not (name := text(said.get("name")) or text(said.get("model"))):
            continue
        details = mapping(said.get("details"))
        found.append(
            Tagged(
                name=tagged(name),
                digest=text(said.get("digest")),
                format=text(details.get("format")),
                size_bytes=count(said.get("size")) or 0,
                quantization=text(details.get("quantization_level")) or None,
                architecture=text(details.get("family")) or None,
            )
        )
    return tuple(found)


def shown(model: Tagged, answer: Mapping[str, Any]) -> Tagged:
    """The model with what `POST /api/show` says of it."""
    facts = mapping(answer.get("model_info"))
    family = text(facts.get("general.architecture")) or model.architecture or ""
    words = answer.get("capabilities")
    known = [each for each in words if isinstance(each, str)] if isinstance(words, list) else []
    able = [ours for each in known for ours in _OURS.get(each, ())]
    return replace(
        model,
        architecture=family or None,
        max_context=count(facts.get(f"{family}.context_length")),
        layers=count(facts.get(f"{family}.block_count")),
        capabilities=frozenset(able),
    )


def of_ps(answer: Mapping[str, Any]) -> tuple[Loaded, ...]:
    """Of `GET /api/ps`."""
    return tuple(
        Loaded(tagged(name), count(said.get("size")) or 0, count(said.get("context_length")))
        for said in objects(answer.get("models"))
        if (name := text(said.get("name")) or text(said.get("model")))
    )
