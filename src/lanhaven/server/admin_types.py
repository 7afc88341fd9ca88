"""Bodies of the admin API: camelCase out, camelCase or snake_case in (C20)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from lanhaven.types.models import LoadConfig, Overflow, Sampling

Name = Annotated[str, Field(min_length=1, max_length=512)]
Positive = Annotated[int, Field(gt=0, le=1 << 30)]


class Body(BaseModel):
    """Unknown fields are refused: a misspelt setting must not be dropped in silence."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, strict=True, allow_inf_nan=False
    )


class Gpu(Body):
    """Share or number of layers on the GPU; `layers` wins (C14)."""

    ratio: Annotated[float, Field(ge=0, le=1)] | None = None
    layers: Annotated[int, Field(ge=0, le=100_000)] | None = None


class LoadConfigBody(Body):
    """How to load (S0-13..19), and what LanHaven's own engines take besides."""

    context_length: Annotated[int, Field(gt=0, le=1 << 24)] | None = None
    gpu: Gpu | None = None
    cpu_threads: Annotated[int, Field(gt=0, le=4096)] | None = None
    rope_frequency_base: Annotated[float, Field(gt=0)] | None = None
    rope_frequency_scale: Annotated[float, Field(gt=0)] | None = None
    slots: Annotated[int, Field(gt=0, le=256)] | None = None
    flash_attention: bool | None = None
    kv_type: Annotated[str, Field(pattern=r"^[a-z0-9_]{2,8}$")] | None = None

    def config(self, ttl_seconds: float | None) -> LoadConfig:
        """The domain's form."""
        gpu = self.gpu or Gpu()
        said = self.model_dump(exclude={"gpu"})
        return LoadConfig(**said, gpu_ratio=gpu.ratio, gpu_layers=gpu.layers, idle_ttl=ttl_seconds)


class SamplingBody(Body):
    """Inference defaults (S0-20..27)."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Positive | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=1 << 20)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repeat_penalty: Annotated[float, Field(ge=0)] | None = None
    stop_strings: Annotated[list[str], Field(max_length=16)] | None = None
    seed: int | None = None
    stream: bool | None = None
    context_overflow: Literal["error", "drop-oldest", "drop-middle", "truncate"] | None = None

    def sampling(self) -> Sampling:
        """The domain's form."""
        said = self.model_dump(exclude={"stop_strings", "context_overflow"})
        overflow = None if self.context_overflow is None else Overflow(self.context_overflow)
        stop = None if self.stop_strings is None else tuple(self.stop_strings)
        return Sampling(**said, stop=stop, context_overflow=overflow)

    @classmethod
    def of(cls, sampling: Sampling) -> Self:
        """From the domain's form."""
        said: dict[str, Any] = sampling.said()
        stop = said.pop("stop", None)
        return cls(**said, stop_strings=None if stop is None else list(stop))


class LoadBody(Body):
    """POST /admin/models/load (S0-08..12, S0-28)."""

    model_key: Name
    instance_id: Name | None = None
    load_config: LoadConfigBody = LoadConfigBody()
    default_inference: SamplingBody | None = None
    activate: bool = True
    ttl_seconds: Annotated[float, Field(ge=0)] | None = None
    pinned: bool = False
    force: bool = False


class UnloadBody(Body):
    """POST /admin/models/unload (S0-32)."""

    model_key: Name
    instance_id: Name | None = None
    force: bool = False


class ActivateBody(Body):
    """POST /admin/models/activate (S0-35, C15)."""

    model_key: Name
    instance_id: Name | None = None
    default_inference: SamplingBody | None = None
    merge: bool = False


def load_config_json(config: LoadConfig) -> dict[str, Any]:
    """The admin API's form of a load config: only what is said."""
    names = {
        "context_length": "contextLength",
        "cpu_threads": "cpuThreads",
        "rope_frequency_base": "ropeFrequencyBase",
        "rope_frequency_scale": "ropeFrequencyScale",
        "slots": "slots",
        "flash_attention": "flashAttention",
        "kv_type": "kvType",
        "idle_ttl": "ttlSeconds",
    }
    said = config.said()
    body: dict[str, Any] = {camel: said[name] for name, camel in names.items() if name in said}
    gpu = {short: said[name] for name, short in (("gpu_ratio", "ratio"), ("gpu_layers", "layers")) if name in said}
    return body | ({"gpu": gpu} if gpu else {})


def sampling_json(sampling: Sampling) -> dict[str, Any]:
    """The admin API's form of inference defaults: only what is said."""
    said: dict[str, Any] = {name: value for name, value in sampling.said().items() if name != "stop"}
    if sampling.context_overflow is not None:
        said["context_overflow"] = sampling.context_overflow.value
    return SamplingBody.model_construct(
        **said,
        stop_strings=None if sampling.stop is None else list(sampling.stop),
    ).model_dump(by_alias=True, exclude_none=True)
