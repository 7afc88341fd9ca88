"""What Ollama says of its models, in our words. What is malformed is passed over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

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
    for said in _objects(answer.get("models")):
        if not (name := _text(said.get("name")) or _text(said.get("model"))):
            continue
        details = _mapping(said.get("details"))
        found.append(
            Tagged(
                name=tagged(name),
                digest=_text(said.get("digest")),
                format=_text(details.get("format")),
                size_bytes=_count(said.get("size")) or 0,
                quantization=_text(details.get("quantization_level")) or None,
                architecture=_text(details.get("family")) or None,
            )
        )
    return tuple(found)


def shown(model: Tagged, answer: Mapping[str, Any]) -> Tagged:
    """The model with what `POST /api/show` says of it."""
    facts = _mapping(answer.get("model_info"))
    family = _text(facts.get("general.architecture")) or model.architecture or ""
    words = answer.get("capabilities")
    known = [each for each in words if isinstance(each, str)] if isinstance(words, list) else []
    able = [ours for each in known for ours in _OURS.get(each, ())]
    return replace(
        model,
        architecture=family or None,
        max_context=_count(facts.get(f"{family}.context_length")),
        layers=_count(facts.get(f"{family}.block_count")),
        capabilities=frozenset(able),
    )


def of_ps(answer: Mapping[str, Any]) -> tuple[Loaded, ...]:
    """Of `GET /api/ps`."""
    return tuple(
        Loaded(tagged(name), _count(said.get("size")) or 0, _count(said.get("context_length")))
        for said in _objects(answer.get("models"))
        if (name := _text(said.get("name")) or _text(said.get("model")))
    )


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    return (each for each in value if isinstance(each, dict)) if isinstance(value, list) else iter(())


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    usable = isinstance(value, str) and 0 < len(value) <= 512 and value.isprintable() and value.strip() == value
    return value if usable else ""


def _count(value: Any) -> int | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1 << 62
    return int(value) if usable else None
