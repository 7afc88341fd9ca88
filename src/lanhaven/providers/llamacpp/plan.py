"""From a model, its settings and a load config to what the llama.cpp child is told, and back from what it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lanhaven.formats.estimate import estimate
from lanhaven.formats.gguf_cache import HeaderCache
from lanhaven.formats.gguf_model import GGUFModel, describe_gguf
from lanhaven.formats.gguf_source import Reason, bad
from lanhaven.providers.base import Ignored
from lanhaven.providers.ignoring import too_long
from lanhaven.providers.llamacpp.options import Defaults, Options
from lanhaven.types.memory import MemoryEstimate
from lanhaven.types.models import LoadConfig, ModelInfo, ModelKind

TEMPLATE_LIMIT = 1 << 20  # bytes
ALL_LAYERS = 999  # llama.cpp takes as many as there are
CHAT_ROUTES = frozenset(
    {"/v1/chat/completions", "/v1/completions", "/v1/chat/completions/input_tokens"}
    | {"/infill", "/tokenize", "/detokenize", "/apply-template", "/metrics"}
)
EXTRAS = frozenset(
    {"return_progress", "verbose", "chat_template_kwargs", "grammar", "json_schema"}
    | {"typical_p", "xtc_probability", "xtc_threshold", "mirostat", "mirostat_eta", "mirostat_tau"}
)
CROSS_ENCODERS = frozenset({"bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "modern-bert"})
ROUTES: Mapping[ModelKind, frozenset[str]] = MappingProxyType(
    {
        ModelKind.LLM: CHAT_ROUTES,
        ModelKind.VLM: CHAT_ROUTES,
        ModelKind.EMBEDDING: frozenset({"/v1/embeddings", "/tokenize", "/detokenize", "/metrics"}),
        ModelKind.RERANKER: frozenset({"/v1/rerank", "/tokenize", "/detokenize", "/metrics"}),
    }
)


@dataclass(frozen=True, slots=True)
class Files:
    """What the files of a model hold."""

    model: GGUFModel
    kind: ModelKind
    projector: GGUFModel | None
    template: str | None  # that replaces the model's own

    @property
    def scores_are_logits(self) -> bool:
        """Of a reranker: llama.cpp gives them as they leave the model's head, and only some heads end in a softmax."""
        return self.kind is ModelKind.RERANKER and self.model.architecture in CROSS_ENCODERS

    @property
    def parts(self) -> tuple[Path, ...]:
        return self.model.parts + (self.projector.parts if self.projector is not None else ())


def read_files(options: Options, headers: HeaderCache) -> Files:
    """Read headers and template. InvalidModelFile for everything that llama.cpp would refuse with less clear words."""
    model = describe_gguf(options.model_path, headers.read)
    if model.kind is None:
        raise bad(Reason.MALFORMED, "The file is a projector and no model: it belongs into mmproj_path of its model.")
    projector = _projector(model, options.mmproj_path, headers)
    template = options.chat_template or _template(options.chat_template_path)
    kind = ModelKind.VLM if projector is not None and projector.sees else model.kind
    return Files(model, kind, projector, template)


def _projector(model: GGUFModel, path: Path | None, headers: HeaderCache) -> GGUFModel | None:
    if path is None:
        return None
    projector = describe_gguf(path, headers.read)
    if not model.pairs_with(projector):
        wanted, given = model.embedding_length, projector.projects_to
        raise bad(Reason.MALFORMED, f"The projector does not fit: it gives {given} values, the model takes {wanted}.")
    return projector


def _template(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            data = file.read(TEMPLATE_LIMIT + 1)
        text = data.decode()
    except OSError as error:
        raise bad(Reason.UNREADABLE, f"The chat template cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise bad(Reason.MALFORMED, "The chat template is not UTF-8 text.") from error
    if len(data) > TEMPLATE_LIMIT:
        raise bad(Reason.OVER_LIMIT, f"The chat template has more than {TEMPLATE_LIMIT} bytes.")
    return text


def describe(key: str, provider: str, files: Files, load: LoadConfig) -> ModelInfo:
    """The model as the catalog shows it."""
    model, projector = files.model, files.projector
    added = {"vision"} if projector and projector.sees else set()
    added |= {"audio"} if projector and projector.hears else set()
    if files.template is not None and files.kind in (ModelKind.LLM, ModelKind.VLM):
        added |= {"chat", "tools"} if "tools" in files.template else {"chat"}
    return ModelInfo(
        key=key,
        provider=provider,
        kind=files.kind,
        format="gguf",
        size_bytes=model.file_bytes + (projector.file_bytes if projector else 0),
        max_context=model.max_context,
        layers=model.layers,
        quantization=model.quantization,
        architecture=model.architecture,
        capabilities=model.capabilities | added,
        holds_schemas=True,
        path=model.path,
        description=model.name or "",
        load=load,
    )


def effective(
    files: Files, config: LoadConfig, defaults: Defaults, threads: int, most_slots: int | None = None
) -> LoadConfig:
    """`config` with what it leaves open filled in. llama.cpp would hold memory for more context than the model has
    and then not use it: so much is not asked for."""
    longest = files.model.max_context or max(defaults.context_length, config.context_length or 0)
    filled = LoadConfig(
        context_length=min(longest, defaults.context_length),
        slots=defaults.default_slots,
        cpu_threads=defaults.threads or threads,
        kv_type="f16",
    )
    full = config.over(filled)
    slots = min(full.slots or 1, most_slots or full.slots or 1)
    return replace(full, context_length=min(longest, full.context_length or longest), slots=slots)


def memory_needed(files: Files, options: Options, config: LoadConfig, defaults: Defaults) -> MemoryEstimate:
    """`config` is the effective one."""
    cache_mib = defaults.prompt_cache_mib if options.cache_ram_mib is None else options.cache_ram_mib
    return estimate(
        files.model,
        context_length=config.context_length or defaults.context_length,
        slots=config.slots or defaults.default_slots,
        kv_type=config.kv_type or "f16",
        cache_ram_bytes=0 if files.kind in (ModelKind.EMBEDDING, ModelKind.RERANKER) else cache_mib << 20,
        flash_attention=config.flash_attention,
        projector=files.projector,
    )


def child_settings(
    key: str, files: Files, options: Options, config: LoadConfig, defaults: Defaults
) -> dict[str, object]:
    """What llamacpp_worker is told; `config` is the effective one. None leaves a value to llama.cpp."""
    context = config.context_length or defaults.context_length
    slots = config.slots or defaults.default_slots
    encoder = files.kind in (ModelKind.EMBEDDING, ModelKind.RERANKER)
    settings: dict[str, object] = {
        "model": str(files.model.path),
        "alias": key,
        "projector": str(files.projector.path) if files.projector else None,
        "chat_template": files.template,
        "chat_template_path": str(options.chat_template_path) if options.chat_template_path else None,
        "n_ctx": context * slots,  # llama.cpp counts the context over all slots
        "n_parallel": slots,
        "n_gpu_layers": _gpu_layers(files.model.layers, config),
        "threads": config.cpu_threads,
        "rope_freq_base": config.rope_frequency_base,
        "rope_freq_scale": config.rope_frequency_scale,
        "kv_type": config.kv_type,
        "flash_attention": config.flash_attention,
        "n_batch": options.n_batch,
        "cache_ram_mib": defaults.prompt_cache_mib if options.cache_ram_mib is None else options.cache_ram_mib,
        "check_tensors": options.check_tensors,
        "mmap": options.use_mmap,
    }
    if encoder:  # it takes a text in one batch or not at all
        settings |= {"embedding": True, "n_batch": context, "n_ubatch": context, "cache_ram_mib": 0}
    if files.kind is ModelKind.RERANKER:
        settings["pooling"] = "rank"
    return settings


def _gpu_layers(layers: int | None, config: LoadConfig) -> int | None:
    if config.gpu_layers is not None:
        return config.gpu_layers
    if config.gpu_ratio is None:
        return None
    if config.gpu_ratio >= 1 or layers is None:
        return ALL_LAYERS if config.gpu_ratio > 0 else 0
    return round(config.gpu_ratio * (layers + 1))  # the output layer is one more


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a load config."""

    config: LoadConfig
    applied: dict[str, object]
    ignored: tuple[Ignored, ...]


def outcome(asked: LoadConfig, used: LoadConfig, told: Mapping[str, Any], has_gpu: bool) -> Outcome:
    """`asked`: what was said; `used`: the effective one; `told`: what the engine says that it made of it."""
    context = int(told.get("context_length", used.context_length or 0))
    config = replace(
        used,
        context_length=context,
        slots=int(told.get("slots", used.slots or 0)),
        cpu_threads=int(told.get("cpu_threads", used.cpu_threads or 0)),
    )
    applied: dict[str, Any] = {
        "contextLength": config.context_length,
        "slots": config.slots,
        "cpuThreads": config.cpu_threads,
        "kvType": told.get("kv_type", config.kv_type),
    }
    if asked.rope_frequency_base is not None:
        applied["ropeFrequencyBase"] = told.get("rope_frequency_base", asked.rope_frequency_base)
    if asked.rope_frequency_scale is not None:
        applied["ropeFrequencyScale"] = told.get("rope_frequency_scale", asked.rope_frequency_scale)
    if "flash_attention" in told:
        applied["flashAttention"] = told["flash_attention"] == "enabled"
    ignored = [*_gpu_ignored(asked, has_gpu), *too_long(asked.context_length, context)]
    if asked.slots is not None and config.slots is not None and config.slots < asked.slots:
        ignored.append(Ignored("slots", "this engine computes one request after the other"))
    if has_gpu and (layers := told.get("gpu_layers", asked.gpu_layers)) is not None:
        applied["gpu.layers"] = layers
    if has_gpu and asked.gpu_ratio is not None and asked.gpu_layers is None:
        applied["gpu.ratio"] = asked.gpu_ratio
    return Outcome(config, applied, tuple(ignored))


def _gpu_ignored(asked: LoadConfig, has_gpu: bool) -> list[Ignored]:
    ignored = []
    if asked.gpu_ratio is not None and asked.gpu_layers is not None:
        ignored.append(Ignored("gpu.ratio", "gpu.layers is given too and wins"))
    if not has_gpu:
        why = "llama.cpp finds no GPU here: it was told, and nothing changed"
        said = {"gpu.layers": asked.gpu_layers, "gpu.ratio": None if asked.gpu_layers is not None else asked.gpu_ratio}
        ignored += [Ignored(name, why) for name, value in said.items() if value is not None]
    return ignored


def has_gpu(devices: Sequence[Mapping[str, Any]]) -> bool:
    return any(device["type"] in {"GPU", "IGPU"} for device in devices)


def devices_in_words(devices: Sequence[Mapping[str, Any]]) -> list[str]:
    """ "no GPU", or each GPU with its memory; nothing as long as nobody has asked the engine."""
    gpus = [device for device in devices if has_gpu((device,))]
    if not devices or gpus:
        return [f"{device['description']} ({device['memory_total'] / (1 << 30):.0f} GiB)" for device in gpus]
    return ["no GPU"]
