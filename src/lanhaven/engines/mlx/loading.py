"""Loading a model with mlx-lm, weight by weight, so that there is a progress to tell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models.cache import can_trim_prompt_cache
from mlx_lm.utils import load_model as read_model
from mlx_lm.utils import load_tokenizer

from lanhaven.engines.mlx.batched import Batched
from lanhaven.engines.mlx.caches import new_cache
from lanhaven.engines.mlx.memory import PromptMemory
from lanhaven.engines.mlx.single import Draft, Quantized, Single
from lanhaven.engines.serving.choice import Choice
from lanhaven.engines.serving.jobs import Computing
from lanhaven.engines.serving.log import Log
from lanhaven.engines.serving.mailbox import Mailbox

STEP = 0.02  # share of the weights between two reports
LEAST = 16 << 20  # bytes of weights that are read at once
# Tokens of a prompt in one step, which nothing can interrupt: on a CPU 2048 may take minutes.
GPU_STEP, CPU_STEP = 2048, 128
_DEFAULTS = ("temperature", "top_p", "top_k", "min_p")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that can be asked. `slots`: requests it computes at once. `cache`: mlx-lm's name of its KV cache."""

    model: Any
    tokenizer: Any
    ends: frozenset[int]
    computing: Computing
    slots: int
    cache: str
    rotates: bool


def load_model(settings: Mapping[str, Any], mailbox: Mailbox, log: Log) -> LoadedModel:
    """In the thread that will compute. Everything that can be wrong with the files is some exception of mlx-lm's."""
    model, tokenizer = _load(Path(settings["model"]), settings.get("chat_template"), log)
    draft = _draft(settings, tokenizer, log)
    quantized = _quantized(settings)
    most = settings.get("max_kv_size")
    cache = new_cache(model, most)
    batches = draft is None and quantized is None and all("merge" in dir(each) for each in cache)
    ends = frozenset(int(token) for token in tokenizer.eos_token_ids)
    memory = PromptMemory(int(settings.get("cache_ram_mib") or 0) << 20)
    step = int(settings.get("n_batch") or (GPU_STEP if mx.default_device() == mx.Device(mx.gpu) else CPU_STEP))
    computing: Computing
    if batches:
        slots = int(settings.get("slots") or 1)
        computing = Batched(mailbox, model, ends, slots=slots, prompt_step=step, memory=memory, max_kv_size=most)
    else:
        slots = 1
        computing = Single(
            mailbox, model, ends, prompt_step=step, memory=memory, max_kv_size=most, draft=draft, quantized=quantized
        )
    kind = type(cache[0]).__name__ if cache else "none"
    return LoadedModel(model, tokenizer, ends, computing, slots, kind, kind == "RotatingKVCache")


def _load(path: Path, template: str | None, log: Log) -> tuple[Any, Any]:
    model, tokenizer = _read(path, "model", log)
    if template is not None:
        tokenizer.chat_template = template
        tokenizer.has_chat_template = True
    weights = [array for _, array in tree_flatten(model.parameters())]
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
    return model, tokenizer


def _read(path: Path, what: str, log: Log) -> tuple[Any, Any]:
    """mlx-lm's own `load` takes a path that is not there for a name at a hub."""
    if not path.is_dir():
        raise FileNotFoundError(f"there is no folder {path.name}")
    log.stage(f"loading {what}")
    model, config = read_model(path, lazy=True)
    log.stage("loading tokenizer")
    return model, load_tokenizer(path, {"trust_remote_code": False}, eos_token_ids=config.get("eos_token_id"))


def _draft(settings: Mapping[str, Any], tokenizer: Any, log: Log) -> Draft | None:
    if not settings.get("draft_model"):
        return None
    model, other = _read(Path(settings["draft_model"]), "draft model", log)
    if other.vocab_size != tokenizer.vocab_size:
        raise ValueError(
            f"the draft model has another vocabulary ({other.vocab_size} words) than the model ({tokenizer.vocab_size})"
        )
    if not can_trim_prompt_cache(new_cache(model, None)):
        raise ValueError("the draft model's cache cannot be taken back, which guessing ahead needs")
    return Draft(model, int(settings.get("num_draft_tokens") or 6))


def _quantized(settings: Mapping[str, Any]) -> Quantized | None:
    if not settings.get("kv_bits"):
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
