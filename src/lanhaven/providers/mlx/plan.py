"""From a model folder, its settings and a load config to what the mlx child is told, and back from what it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lanhaven.errors import InvalidRequest
from lanhaven.formats.gguf_source import Reason, bad
from lanhaven.formats.mlx import MLXModel, describe_mlx
from lanhaven.providers.base import Ignored
from lanhaven.providers.ignoring import too_long
from lanhaven.providers.mlx.cache import Cache, cache_of, check_cache
from lanhaven.providers.mlx.options import ROTATING, Defaults, Options
from lanhaven.types.memory import MemoryEstimate
from lanhaven.types.models import LoadConfig, ModelInfo, ModelKind

TEMPLATE_LIMIT = 1 << 20  # bytes
ROUTES = frozenset(
    {"/v1/chat/completions", "/v1/completions", "/v1/chat/completions/input_tokens"}
    | {"/tokenize", "/detokenize", "/apply-template"}
)
EMBEDDING_ROUTES = frozenset({"/v1/embeddings", "/tokenize", "/detokenize"})
EXTRAS = frozenset(
    {"return_progress", "verbose", "chat_template_kwargs", "grammar", "json_schema"}
    | {"xtc_probability", "xtc_threshold"}
)
NO_EYES = (
    "config.vision: pictures need mlx-vlm, which is not installed: pip install 'lanhaven[mlx-vision]'."
    " Or load a GGUF of the model with its projector (provider llama_cpp, mmproj_path)."
)
NO_DRAFT = "config.draft_model_path is for texts: with vision: false the model's language part is loaded alone."
REWRITTEN = "mlx-vlm would write into the model's weights of type F8_E8M0 to read them. Convert them (mlx_vlm.convert)."
NO_ENCODERS = "mlx-lm runs no encoders. Load a GGUF of the model with the provider llama_cpp."
ONE_BY_ONE = "with this cache or draft model mlx-lm computes one request after the other"
ONE_BY_ONE_EMBEDDING = "texts are turned into vectors one after the other"
ONE_BY_ONE_SEEING = "mlx-vlm computes one request of a model that sees after the other"

# Measured: SmolLM2 in bfloat16 on a CPU, 353 MiB in use (PSS) when loaded, 257 of them weights.
_BASE = 110 << 20  # Python, mlx, transformers with its tokenizer
_COMPUTE_SHARE = 0.05  # of the weights
_COMPUTE_LEAST = 64 << 20


@dataclass(frozen=True, slots=True)
class Files:
    """What the folders of a model hold."""

    model: MLXModel
    draft: MLXModel | None
    template: str | None  # that replaces the model's own
    sees: bool = False  # it is loaded with its eyes
    blind: bool = False  # it has eyes, and mlx-vlm is not there
    pooling: str | None = None  # it makes embeddings, in this way

    @property
    def parts(self) -> tuple[Path, ...]:
        return self.model.parts + (self.draft.parts if self.draft is not None else ())


def read_files(options: Options, *, eyes: bool) -> Files:
    """InvalidModelFile for everything that mlx-lm would refuse with less clear words, InvalidRequest for settings.

    `eyes`: mlx-vlm is there.
    """
    model = describe_mlx(options.model_path)
    if model.encodes:
        raise bad(Reason.MALFORMED, NO_ENCODERS)
    check_cache(model, options)
    draft = describe_mlx(options.draft_model_path) if options.draft_model_path is not None else None
    if draft is not None and draft.vocabulary != model.vocabulary:
        raise InvalidRequest(
            f"The draft model has another vocabulary ({draft.vocabulary}) than the model ({model.vocabulary}).",
            param="draft_model_path",
        )
    template = options.chat_template or _template(options.chat_template_path)
    pooling = None if options.pooling == "none" else options.pooling or model.pooling
    sees = pooling is None and _sees(options, model, eyes=eyes)
    return Files(model, draft, template, sees, blind=model.sees and not eyes, pooling=pooling)


def _sees(options: Options, model: MLXModel, *, eyes: bool) -> bool:
    if options.vision is False:
        return False
    if options.vision and not model.sees:
        raise InvalidRequest("config.vision: the model sees nothing (no vision_config).", param="vision")
    if options.vision and not eyes:
        raise InvalidRequest(NO_EYES, param="vision")
    if model.sees and eyes and options.draft_model_path is not None:
        raise InvalidRequest(NO_DRAFT, param="draft_model_path")
    if model.sees and eyes and model.rewritten:
        raise bad(Reason.MALFORMED, REWRITTEN)
    return model.sees and eyes


def _template(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        if path.stat().st_size > TEMPLATE_LIMIT:
            raise bad(Reason.OVER_LIMIT, f"The chat template has more than {TEMPLATE_LIMIT} bytes.")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise bad(Reason.UNREADABLE, f"The chat template cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise bad(Reason.MALFORMED, "The chat template is not UTF-8 text.") from error


def describe(key: str, provider: str, files: Files, options: Options) -> ModelInfo:
    """The model as the catalog shows it."""
    model = files.model
    return ModelInfo(
        key=key,
        provider=provider,
        kind=ModelKind.EMBEDDING if files.pooling else ModelKind.VLM if files.sees else ModelKind.LLM,
        format="mlx",
        size_bytes=sum(part.stat().st_size for part in files.parts),
        max_context=model.max_context,
        layers=model.layers,
        quantization=model.quantization,
        architecture=model.architecture,
        capabilities=_capabilities(files),
        path=model.path,
        load=options.load,
        sampling=options.sampling,
    )


def _capabilities(files: Files) -> frozenset[str]:
    if files.pooling:
        return frozenset({"embedding"})
    able = {
        "completion": True,
        "chat": files.model.chats or files.template is not None,
        "tools": files.model.calls_tools and files.template is None,
        "vision": files.sees,
    }
    return frozenset(name for name, holds in able.items() if holds)


def batches(files: Files, options: Options, cache: Cache) -> bool:
    """mlx-lm computes several requests at once only with a plain cache and without a draft model; mlx-vlm only such as
    are sampled alike."""
    return cache.bits is None and options.draft_model_path is None and not files.sees and not files.pooling


def effective(files: Files, options: Options, config: LoadConfig, defaults: Defaults) -> LoadConfig:
    """`config` with what it leaves open filled in."""
    longest = files.model.max_context or max(defaults.context_length, config.context_length or 0)
    cache = cache_of(files.model, options, config)
    slots = (config.slots or defaults.default_slots) if batches(files, options, cache) else 1
    context = min(longest, config.context_length or defaults.context_length)
    return replace(config, context_length=context, slots=slots)


def memory_needed(files: Files, options: Options, config: LoadConfig, defaults: Defaults) -> MemoryEstimate:
    """`config` is the effective one. The KV cache grows with use: this counts it full."""
    cache = cache_of(files.model, options, config)
    tokens = min(config.context_length or 0, cache.size or (1 << 62)) * (config.slots or 1)
    models = [files.model] + ([files.draft] if files.draft is not None else [])
    weights = sum(model.size_bytes for model in models)
    kept = sum(cache.bytes_of(tokens * model.kv_values) for model in models)
    prompts = (defaults.prompt_cache_mib if options.cache_ram_mib is None else options.cache_ram_mib) << 20
    compute = max(_COMPUTE_LEAST, int(weights * _COMPUTE_SHARE))
    return MemoryEstimate(
        weights=weights, kv=kept, compute=compute, prompt_cache=prompts, base=_BASE, later=kept + compute + prompts
    )


def child_settings(
    key: str, files: Files, options: Options, config: LoadConfig, defaults: Defaults
) -> dict[str, object]:
    """What the worker is told; `config` is the effective one."""
    cache = cache_of(files.model, options, config)
    return {
        "model": str(files.model.path.absolute()),
        "sees": files.sees,
        "blind": files.blind,
        "pooling": files.pooling,
        "alias": key,
        "context": config.context_length,
        "slots": config.slots,
        "chat_template": files.template,
        "draft_model": str(files.draft.path.absolute()) if files.draft is not None else None,
        "num_draft_tokens": options.num_draft_tokens,
        "max_kv_size": cache.size if cache.kind == ROTATING else None,
        "kv_bits": cache.bits,
        "kv_group_size": cache.group_size,
        "quantized_kv_start": cache.start,
        "n_batch": options.n_batch,
        "cache_ram_mib": defaults.prompt_cache_mib if options.cache_ram_mib is None else options.cache_ram_mib,
    }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a load config."""

    config: LoadConfig
    applied: dict[str, object]
    ignored: tuple[Ignored, ...]


def outcome(asked: LoadConfig, used: LoadConfig, files: Files, options: Options, ready: Mapping[str, Any]) -> Outcome:
    """`asked`: what was said; `used`: the effective one; `ready`: what the child says of itself."""
    cache = cache_of(files.model, options, asked)
    slots = int(ready["slots"])
    config = replace(used, slots=slots)
    applied: dict[str, object] = {"contextLength": config.context_length, "slots": slots} | cache.applied(ready)
    if files.draft is not None:
        applied |= {"draftTokens": options.num_draft_tokens}
    ignored = [*_size_ignored(asked, config, files), *cache.ignored(asked, ready), *_never(asked, ready)]
    return Outcome(config, applied, tuple(ignored))


def _size_ignored(asked: LoadConfig, config: LoadConfig, files: Files) -> list[Ignored]:
    ignored = [*too_long(asked.context_length, config.context_length or 0)]
    if asked.slots is not None and asked.slots > (config.slots or 1):
        why = ONE_BY_ONE_EMBEDDING if files.pooling else ONE_BY_ONE_SEEING if files.sees else ONE_BY_ONE
        ignored.append(Ignored("slots", why))
    return ignored


def _never(asked: LoadConfig, ready: Mapping[str, Any]) -> list[Ignored]:
    """What mlx has no switch for."""
    device = ready["devices"][0]["type"]
    whys = {
        "gpu.layers": (asked.gpu_layers, f"mlx computes all layers on one device, here the {device}"),
        "gpu.ratio": (asked.gpu_ratio, f"mlx computes all layers on one device, here the {device}"),
        "cpuThreads": (asked.cpu_threads, "mlx chooses its threads itself"),
        "ropeFrequencyBase": (asked.rope_frequency_base, "mlx-lm takes it from the model's config.json"),
        "ropeFrequencyScale": (asked.rope_frequency_scale, "mlx-lm takes it from the model's config.json"),
        "flashAttention": (asked.flash_attention, "mlx always uses its own fused attention"),
    }
    return [Ignored(name, why) for name, (value, why) in whys.items() if value is not None]
