"""Models, instances, and how they are loaded and asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

EMPTY: Mapping[str, Any] = MappingProxyType({})
LONGEST_TTL = 100 * 366 * 86_400.0  # seconds
_PARAMETERS = re.compile(r"(?<![a-z0-9.])((?:\d+x)?\d+(?:\.\d+)?[bm])(?![a-z0-9])", re.IGNORECASE)


def parameters_in(name: str) -> str | None:
    """The number of parameters that a model's name tells: "135M" of SmolLM2-135M-Instruct, "8x7B" of Mixtral-8x7B."""
    found = _PARAMETERS.search(name)
    return found[1].upper().replace("X", "x") if found else None


class ModelKind(StrEnum):
    """What a model is for."""

    LLM = "llm"
    VLM = "vlm"
    EMBEDDING = "embedding"
    RERANKER = "reranker"


class InstanceState(StrEnum):
    """Life of an instance: loading -> ready -> draining -> gone; failed ends a life early."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


class Overflow(StrEnum):
    """What becomes of a prompt that its instance cannot hold. Nothing is ever left out unless one of these says so."""

    ERROR = "error"
    DROP_OLDEST = "drop-oldest"  # the oldest turns of a chat
    DROP_MIDDLE = "drop-middle"  # the same, but for the first one
    TRUNCATE = "truncate"  # the end of a text that is to be embedded


@dataclass(frozen=True, slots=True)
class _Overlay:
    """Optional fields, None meaning "not said"; `over` lays one on another."""

    def over(self, base: Self) -> Self:
        """`self`, with what it leaves unsaid taken from `base`."""
        return replace(base, **self.said())

    def said(self) -> dict[str, Any]:
        """The fields that are not None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class LoadConfig(_Overlay):
    """How to load a model. None leaves a field to the provider."""

    context_length: int | None = None  # tokens per request (not the total over slots)
    gpu_ratio: float | None = None  # 0..1, share of the layers on the GPU
    gpu_layers: int | None = None  # wins over gpu_ratio
    cpu_threads: int | None = None
    rope_frequency_base: float | None = None
    rope_frequency_scale: float | None = None
    slots: int | None = None  # parallel sequences
    flash_attention: bool | None = None
    kv_type: str | None = None  # "f16", "q8_0", ...
    idle_ttl: float | None = None  # seconds without a request after which it unloads; 0 = never

    def __post_init__(self) -> None:
        """More than LONGEST_TTL is never: dates and whole milliseconds cannot be made of any number."""
        if self.idle_ttl is not None and self.idle_ttl > LONGEST_TTL:
            object.__setattr__(self, "idle_ttl", 0.0)


@dataclass(frozen=True, slots=True)
class Sampling(_Overlay):
    """Inference defaults, injected where a request is silent."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] | None = None
    seed: int | None = None
    stream: bool | None = None
    context_overflow: Overflow | None = None  # acted upon here, never sent


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that could run."""

    key: str
    provider: str  # name of the provider that runs it
    kind: ModelKind = ModelKind.LLM
    format: str = ""  # "gguf", "mlx", "" where unknown
    size_bytes: int = 0
    max_context: int | None = None
    layers: int | None = None
    quantization: str | None = None
    architecture: str | None = None
    capabilities: frozenset[str] = frozenset()  # "chat", "completion", "tools", "vision", "embedding", "rerank"
    holds_schemas: bool = False  # its engine lets the model write nothing but what fits the JSON schema of an answer
    relayed: bool = False  # another server's model, here because that server lists it
    guessed: bool = False  # nobody knows its capabilities: they are those that models of its kind mostly have
    aliases: tuple[str, ...] = ()
    path: Path | None = None
    description: str = ""
    unavailable: str | None = None  # why it cannot be loaded here; None = it can
    load: LoadConfig = LoadConfig()  # this model's load profile
    sampling: Sampling = Sampling()  # this model's sampling profile
    pinned: bool = False
    preload: bool = False
    # The provider's own settings from models.yaml; they may hold a key, so nobody prints them.
    config: Mapping[str, Any] = field(default_factory=lambda: EMPTY, hash=False, repr=False)

    @property
    def blind(self) -> bool:
        """Whether it is known that the model sees no images."""
        return bool(self.capabilities) and "vision" not in self.capabilities and not self.guessed


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where an instance takes requests. It speaks OpenAI over HTTP/1.1.

    Exactly one of `base_url` ("http://host:port" or "https://...", with an optional path prefix such as "/v1" NOT
    included) and `socket` (path of a unix socket) is set. `prefix` is prepended to paths like "/v1/chat/completions".
    """

    model: str  # the model name to send
    base_url: str | None = None
    socket: str | None = None
    prefix: str = ""
    headers: tuple[tuple[str, str], ...] = ()  # e.g. (("authorization", "Bearer ..."),); secret: never logged
    slots: int | None = None  # requests it computes at once; None = it bounds itself
    reuse_after_stream: bool = True  # False: llama.cpp closes after a streamed reply without saying so
    routes: frozenset[str] = frozenset({"/v1/chat/completions", "/v1/completions"})
    logits: bool = False  # its rerank scores are logits, not shares from 0 to 1
    extras: frozenset[str] = frozenset()  # request fields beyond OpenAI's that it knows; strict servers refuse them

    def __hash__(self) -> int:  # it is looked up with every request, and these tell nearly all apart
        return hash((self.model, self.base_url, self.socket))

    def __repr__(self) -> str:
        return f"Upstream({self.socket or self.base_url}{self.prefix} model={self.model!r} slots={self.slots})"


@dataclass(frozen=True, slots=True)
class Instance:
    """A loaded (or loading) copy of a model: a snapshot for lists and replies. Times are seconds on the monotonic
    clock."""

    instance_id: str
    model_key: str
    provider: str
    kind: ModelKind
    state: InstanceState
    load_config: LoadConfig
    sampling: Sampling
    automatic: bool  # loaded because a request asked for it: counts against max_loaded_models, may be evicted
    pinned: bool
    size_bytes: int  # memory: the estimate while loading, what the provider reports when ready
    leases: int
    waiting: int
    slots: int | None
    loaded_at: float | None
    last_used: float
    expires_at: float | None  # when the idle TTL would end it; None = never, or busy
    progress: float | None = None  # 0..1 while loading, where the provider knows
    stage: str | None = None
    error: str | None = None
    ours: bool = False  # its engine is a process of ours
    outdated: bool = False  # models.yaml says now that it is to be loaded otherwise
