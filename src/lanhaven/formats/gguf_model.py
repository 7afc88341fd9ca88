"""From the header of a GGUF file to what a catalog says of the model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from lanhaven.formats.ggml import FILE_TYPES, TENSOR_TYPES
from lanhaven.formats.gguf import GGUFHeader, read_header
from lanhaven.formats.gguf_shape import Shape, layer_count, shape_of
from lanhaven.formats.gguf_source import Reason, bad
from lanhaven.formats.gguf_split import read_parts
from lanhaven.types.models import ModelKind

PROJECTOR = "clip"  # architecture of the files that turn pictures or sound into embeddings for another model
_ENCODERS = frozenset(
    {"bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3", "eurobert"}
    | {"gemma-embedding", "t5encoder"}
)
_DIFFUSION = frozenset({"dream", "llada", "llada-moe", "rnd1"})  # not causal, and yet they write text
_POOLING: Mapping[int, str] = MappingProxyType({0: "none", 1: "mean", 2: "cls", 3: "last", 4: "rank"})
_GUESSED = 1024  # LLAMA_FTYPE_GUESSED, a bit beside the file type
_FIM_KEYS = ("tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id")
_TOOLS = re.compile(r"\btools\b")


@dataclass(frozen=True, slots=True)
class GGUFModel:
    """What a GGUF file (all its parts) holds. `kind` is None for a projector, which is no model of its own."""

    path: Path
    parts: tuple[Path, ...]  # all files, the first one is `path`
    architecture: str
    name: str | None
    kind: ModelKind | None
    layers: int | None
    max_context: int | None  # tokens
    quantization: str | None
    parameters: int
    size_bytes: int  # of the weights
    file_bytes: int
    chat_template: str | None
    capabilities: frozenset[str]  # of "chat", "completion", "tools", "infill", "embedding", "rerank"
    embedding_length: int | None
    pooling: str | None  # "none", "mean", "cls", "last", "rank"
    license: str | None
    projects_to: int | None  # of a projector: the embedding length of the models it fits
    sees: bool  # of a projector
    hears: bool
    shape: Shape

    def pairs_with(self, projector: GGUFModel) -> bool:
        """Whether `projector` gives this model eyes or ears."""
        if self.kind is not ModelKind.LLM or projector.kind is not None:
            return False
        return self.embedding_length is not None and self.embedding_length == projector.projects_to


def describe_gguf(path: Path, read: Callable[[Path], GGUFHeader] = read_header) -> GGUFModel:
    """Read the header of `path` and of the parts that belong to it. Blocking, milliseconds per file.

    `read` may be `HeaderCache.read`. Raises InvalidModelFile, and nothing else.
    """
    parts, headers = read_parts(path, read)
    first = headers[0]
    architecture = first.text("general.architecture")
    if architecture is None:
        raise bad(Reason.MALFORMED, "The model file does not say its architecture.")
    pooling = first.integer(f"{architecture}.pooling_type")
    kind = _kind(first, architecture, pooling)
    encoder = architecture in _ENCODERS or first.flag(f"{architecture}.attention.causal") is False
    template = first.text("tokenizer.chat_template")
    return GGUFModel(
        path=path,
        parts=parts,
        architecture=architecture,
        name=first.text("general.name"),
        kind=kind,
        layers=layer_count(first, architecture) or None,
        max_context=first.integer(f"{architecture}.context_length") or None,
        quantization=_quantization(headers),
        parameters=sum(tensor.elements for header in headers for tensor in header.tensors),
        size_bytes=sum(_weight_bytes(header) for header in headers),
        file_bytes=sum(header.file_size for header in headers),
        chat_template=template,
        capabilities=_capabilities(first, kind, template),
        embedding_length=first.integer(f"{architecture}.embedding_length") or None,
        pooling=None if pooling is None else _POOLING.get(pooling),
        license=first.text("general.license"),
        projects_to=_projects_to(first) if kind is None else None,
        sees=kind is None and first.flag("clip.has_vision_encoder") is True,
        hears=kind is None and first.flag("clip.has_audio_encoder") is True,
        shape=shape_of(first, architecture, keeps_tokens=not encoder),
    )


def _kind(header: GGUFHeader, architecture: str, pooling: int | None) -> ModelKind | None:
    if architecture == PROJECTOR:
        return None
    if _POOLING.get(pooling or 0) == "rank" or (pooling is None and _scores(header)):
        return ModelKind.RERANKER
    not_causal = header.flag(f"{architecture}.attention.causal") is False and architecture not in _DIFFUSION
    if architecture in _ENCODERS or pooling or not_causal:
        return ModelKind.EMBEDDING
    return ModelKind.LLM


def _scores(header: GGUFHeader) -> bool:
    """Whether it ends in a head that gives scores: early rerankers have one, and say nothing of their pooling."""
    return any(tensor.name == "cls.output.weight" for tensor in header.tensors)


def _capabilities(header: GGUFHeader, kind: ModelKind | None, template: str | None) -> frozenset[str]:
    match kind:
        case None:
            return frozenset()
        case ModelKind.EMBEDDING:
            return frozenset({"embedding"})
        case ModelKind.RERANKER:
            return frozenset({"rerank"})
    found = {"completion"}
    if template is not None:
        found.add("chat")
        if _TOOLS.search(template) or "tokenizer.chat_template.tool_use" in header.metadata:
            found.add("tools")
    if any(header.integer(key) is not None for key in _FIM_KEYS):
        found.add("infill")
    return frozenset(found)


def _quantization(headers: Sequence[GGUFHeader]) -> str | None:
    """The name of the file type; without one that is known, the tensor type that takes the most bytes."""
    declared = headers[0].integer("general.file_type")
    if declared is not None and declared & ~_GUESSED in FILE_TYPES:
        return FILE_TYPES[declared & ~_GUESSED]
    weight: Counter[int] = Counter()
    for header in headers:
        for tensor in header.tensors:
            weight[tensor.type] += tensor.size or 0
    top = weight.most_common(1)
    return TENSOR_TYPES[top[0][0]][0] if top and top[0][0] in TENSOR_TYPES else None


def _weight_bytes(header: GGUFHeader) -> int:
    sizes = [tensor.size for tensor in header.tensors]
    known = [size for size in sizes if size is not None]
    # A tensor of a type that is unknown here: the file has the answer.
    return sum(known) if len(known) == len(sizes) else max(header.file_size - header.data_offset, 0)


def _projects_to(header: GGUFHeader) -> int | None:
    return header.integer("clip.vision.projection_dim") or header.integer("clip.audio.projection_dim")
