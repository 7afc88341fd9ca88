"""Loading a model with mlx-lm, weight by weight, so that there is a progress to tell."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models.cache import can_trim_prompt_cache
from mlx_lm.utils import load_model as read_model
from mlx_lm.utils import load_tokenizer

from lanhaven.engines.mlx.batched import Batched
from lanhaven.engines.mlx.caches import Quantized, can_be_quantized, new_cache
from lanhaven.engines.mlx.embedding import Pooling, told
from lanhaven.engines.mlx.memory import PromptMemory
from lanhaven.engines.mlx.prompts import TokenizerPrompts
from lanhaven.engines.mlx.texts import Draft, TextSteps
from lanhaven.engines.mlx.tokens import token_of
from lanhaven.engines.serving.choice import Choice
from lanhaven.engines.serving.jobs import Computing
from lanhaven.engines.serving.log import Log
from lanhaven.engines.serving.mailbox import Mailbox
from lanhaven.engines.serving.single import Single

STEP = 0.02  # share of the weights between two reports
LEAST = 16 << 20  # bytes of weights that are read at once
# Tokens of a prompt in one step, which nothing can interrupt: on a CPU 2048 may take minutes.
GPU_STEP, CPU_STEP = 2048, 128
NEEDS_EYES = "It is a model that sees; mlx-vlm may know it: pip install 'lanhaven[mlx-vision]'"
KNOWN_EYES = "Known is version 0.7.10: pip install 'lanhaven[mlx-vision]'"
_DEFAULTS = ("temperature", "top_p", "top_k", "min_p")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that can be asked.

    facts: `slots`, the requests it computes at once; `cache`, mlx-lm's name of its KV cache; `rotates`, `quantizes`.
    """

    tokenizer: Any
    prompts: TokenizerPrompts
    ends: frozenset[int]
    computing: Computing
    facts: Mapping[str, object]
    embeds: bool = False  # it makes embeddings, and no texts


@dataclass(frozen=True, slots=True)
class _Read:
    """What a folder holds. `processor`: what reads pictures, None where only the language part is wanted."""

    model: Any
    tokenizer: Any
    processor: Any = None


def load_model(settings: Mapping[str, Any], mailbox: Mailbox, log: Log) -> LoadedModel:
    """In the thread that will compute. Everything that can be wrong with the files is some exception of mlx-lm's."""
    found = _load(settings, log)
    ends = frozenset(int(token) for token in found.tokenizer.eos_token_ids)
    step = int(settings.get("n_batch") or (GPU_STEP if mx.default_device() == mx.Device(mx.gpu) else CPU_STEP))
    memory = PromptMemory(int(settings.get("cache_ram_mib") or 0) << 20)
    shared: dict[str, Any] = {"prompt_step": step, "memory": memory, "max_kv_size": settings.get("max_kv_size")}
    if settings.get("pooling"):
        return _embedding(found, mailbox, ends, Pooling(found.model, str(settings["pooling"]), prompt_step=step))
    if found.processor is not None:
        return _seeing(found, settings, mailbox, ends, shared)
    cache = new_cache(found.model, settings.get("max_kv_size"))
    draft, quantized = _draft(settings, found.tokenizer, log), _quantized(settings, cache)
    slots = 1
    computing: Computing
    if draft is None and quantized is None and all("merge" in dir(each) for each in cache):
        slots = int(settings.get("slots") or 1)
        computing = Batched(mailbox, found.model, ends, slots=slots, **shared)
    else:
        computing = Single(
            mailbox, ends, TextSteps(mailbox, found.model, draft=draft, quantized=quantized, **shared), token_of
        )
    facts = _facts(slots, cache, quantized)
    return LoadedModel(found.tokenizer, TokenizerPrompts(found.tokenizer), ends, computing, facts)


def _embedding(found: _Read, mailbox: Mailbox, ends: frozenset[int], pooling: Pooling) -> LoadedModel:
    computing = Single(mailbox, frozenset(), pooling, told)
    prompts = TokenizerPrompts(found.tokenizer)
    return LoadedModel(found.tokenizer, prompts, ends, computing, _facts(1, (), None), embeds=True)


def _seeing(
    found: _Read, settings: Mapping[str, Any], mailbox: Mailbox, ends: frozenset[int], shared: Mapping[str, Any]
) -> LoadedModel:
    from mlx_vlm.models import cache as kinds

    from lanhaven.engines.mlx.pictures import SeeingPrompts
    from lanhaven.engines.mlx.seeing import SeeingSteps

    model, tokenizer = found.model, found.tokenizer
    cache = new_cache(model.language_model, settings.get("max_kv_size"), kinds)
    quantized = _quantized(settings, cache)
    steps = SeeingSteps(mailbox, model, quantized=quantized, **shared)
    prompts = SeeingPrompts(tokenizer, found.processor, model.config)
    computing = Single(mailbox, ends, steps, token_of)
    return LoadedModel(tokenizer, prompts, ends, computing, _facts(1, cache, quantized))


def _facts(slots: int, cache: Sequence[Any], quantized: Quantized | None) -> Mapping[str, object]:
    kind = type(cache[0]).__name__ if cache else "none"
    return {"slots": slots, "cache": kind, "rotates": kind == "RotatingKVCache", "quantizes": quantized is not None}


def _load(settings: Mapping[str, Any], log: Log) -> _Read:
    try:
        found = _read(Path(settings["model"]), "model", log, sees=settings.get("sees") is True)
    except ValueError as error:
        raise ValueError(f"{error} {NEEDS_EYES}" if settings.get("blind") else str(error)) from error
    if (template := settings.get("chat_template")) is not None:
        found.tokenizer.chat_template = template
        found.tokenizer.has_chat_template = True
    weights = [array for _, array in tree_flatten(found.model.parameters())]
    total = sum(array.nbytes for array in weights) or 1
    done, told, block = 0, 0.0, []
    for array in weights:
        block.append(array)
        if sum(each.nbytes for each in block) < LEAST and array is not weights[-1]:
            continue
        mx.eval(block)
        done += sum(each.nbytes for each in block)
        block = []
        if done / total >= told + STEP or done == total:
            told = done / total
            log.stage(f"loading weights {told:.2f}")
    return found


def _read(path: Path, what: str, log: Log, *, sees: bool = False) -> _Read:
    """mlx-lm's own `load` takes a path that is not there for a name at a hub."""
    if not path.is_dir():
        raise FileNotFoundError(f"there is no folder {path.name}")
    log.stage(f"loading {what}")
    processor = None
    if sees:
        try:
            from lanhaven.engines.mlx.seeing import read_seeing
        except ImportError as error:  # somebody's own mlx-vlm of another version, or one that is not whole
            raise ImportError(f"mlx-vlm cannot be used: {error}. {KNOWN_EYES}") from error
        model, processor = read_seeing(path)
        ends = vars(model.config).get("eos_token_id")
    else:
        model, config = read_model(path, lazy=True)
        ends = config.get("eos_token_id")
    log.stage("loading tokenizer")
    extra = {"trust_remote_code": False, **_processors_template(path)}
    return _Read(model, load_tokenizer(path, extra, eos_token_ids=ends), processor)


def _processors_template(path: Path) -> dict[str, str]:
    """Of models that see; only a processor would look there, and it may be the only one."""
    file = path / "chat_template.json"
    if not file.is_file() or (path / "chat_template.jinja").is_file():
        return {}
    return {"chat_template": str(json.loads(file.read_text(encoding="utf-8"))["chat_template"])}


def _draft(settings: Mapping[str, Any], tokenizer: Any, log: Log) -> Draft | None:
    if not settings.get("draft_model"):
        return None
    found = _read(Path(settings["draft_model"]), "draft model", log)
    if (other := found.tokenizer.vocab_size) != tokenizer.vocab_size:
        raise ValueError(
            f"the draft model has another vocabulary ({other} words) than the model ({tokenizer.vocab_size})"
        )
    if not can_trim_prompt_cache(new_cache(found.model, None)):
        raise ValueError("the draft model's cache cannot be taken back, which guessing ahead needs")
    return Draft(found.model, int(settings.get("num_draft_tokens") or 6))


def _quantized(settings: Mapping[str, Any], cache: Sequence[Any]) -> Quantized | None:
    """None as well where the model's own caches cannot be: mlx-lm would say so in the midst of an answer."""
    if not settings.get("kv_bits") or not can_be_quantized(cache):
        return None
    return Quantized(int(settings["kv_bits"]), int(settings["kv_group_size"]), int(settings["quantized_kv_start"]))


def defaults_of(folder: Path) -> Choice:
    """How a model wants to be sampled where nobody says anything: generation_config.json, else llama.cpp's values."""
    try:
        said = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Choice()
    numbers = {
        name: said[name] for name in _DEFAULTS if isinstance(said, dict) and isinstance(said.get(name), int | float)
    }
    return replace(Choice(), **numbers)
