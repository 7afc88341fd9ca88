"""What servers say of their models in `GET /v1/models`: OpenAI's fields, and those that some add. Anything may lack."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from lanhaven.providers.hosts.reading import count, mapping, objects, text
from lanhaven.types.chat import PASSED
from lanhaven.types.models import ModelInfo, ModelKind

CAPABILITIES: Mapping[ModelKind, frozenset[str]] = MappingProxyType(
    {
        ModelKind.LLM: frozenset({"chat", "completion", "tools"}),
        ModelKind.VLM: frozenset({"chat", "completion", "tools", "vision"}),
        ModelKind.EMBEDDING: frozenset({"embedding"}),
        ModelKind.RERANKER: frozenset({"rerank"}),
    }
)
_WORDS = frozenset({"thinking", *(route.name.lower() for route in PASSED)}).union(*CAPABILITIES.values())
_KINDS: Mapping[str, ModelKind] = MappingProxyType(
    {**{each.value: each for each in ModelKind}, "embeddings": ModelKind.EMBEDDING, "rerank": ModelKind.RERANKER}
)
_EMBEDS, _RERANKS = (
    re.compile(r"embed|\bbge-(?!rerank)|\be5-|minilm", re.IGNORECASE),
    re.compile(r"rerank", re.IGNORECASE),
)
# LanHaven and LM Studio; OpenRouter and others; Groq; vLLM
_CONTEXTS = ("max_context_length", "context_length", "context_window", "max_model_len")


@dataclass(frozen=True, slots=True)
class Listed:
    """A model that a server has. name: its id there. capabilities: None where the server does not say them."""

    name: str
    kind: ModelKind = ModelKind.LLM
    max_context: int | None = None
    capabilities: frozenset[str] | None = None
    format: str = ""
    quantization: str | None = None

    def info(self, key: str, provider: str, host: str, aliases: tuple[str, ...] = ()) -> ModelInfo:
        """As a model of the catalog, by the name `key`."""
        config: dict[str, object] = {"host": host, "model": self.name, "kind": self.kind.value}
        if self.capabilities is not None:
            config["capabilities"] = sorted(self.capabilities)
        if self.max_context is not None:
            config["context_length"] = self.max_context
        return ModelInfo(
            key=key,
            provider=provider,
            kind=self.kind,
            format=self.format,
            max_context=self.max_context,
            quantization=self.quantization,
            capabilities=CAPABILITIES[self.kind] if self.capabilities is None else self.capabilities,
            guessed=self.capabilities is None and self.kind is ModelKind.LLM,
            relayed=True,
            aliases=aliases,
            config=config,
        )


def listed(answer: Mapping[str, Any]) -> Iterator[Listed]:
    """What is malformed, or cannot run there, is passed over."""
    for said in objects(answer.get("data")):
        name = text(said.get("id"))
        if name and not _is_instance(said) and said.get("status") != "error":
            yield _model(name, said)


def _is_instance(said: Mapping[str, Any]) -> bool:
    """LanHaven lists instances as well, under the name of their model."""
    return "loaded_context_length" in said and text(said.get("display_name")) not in ("", said.get("id"))


def _model(name: str, said: Mapping[str, Any]) -> Listed:
    told = _KINDS.get(text(said.get("kind"))) or _KINDS.get(text(said.get("type")))
    words = said.get("capabilities")
    able = frozenset(each for each in words if isinstance(each, str)) & _WORDS if isinstance(words, list) else None
    sizes = [count(said.get(field)) for field in _CONTEXTS] + [count(mapping(said.get("meta")).get("n_ctx"))]
    return Listed(
        name=name,
        kind=told or _guess(name),
        max_context=next((each for each in sizes if each is not None), None),
        capabilities=able if told is not None and able else None,
        format=text(said.get("format")),
        quantization=text(said.get("quantization")) or None,
    )


def _guess(name: str) -> ModelKind:
    """By its name, as people do."""
    if _RERANKS.search(name):
        return ModelKind.RERANKER
    return ModelKind.EMBEDDING if _EMBEDS.search(name) else ModelKind.LLM
