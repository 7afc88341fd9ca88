"""The fields of models.yaml: how each is read, and what it means. The reader, the schema for editors and the manual are
made of these tables."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lanhaven.models_file.shapes import Schema
from lanhaven.models_file.values import (
    Reader,
    anything,
    integer,
    name,
    number,
    one_of,
    record,
    seconds,
    several,
    snake,
    text,
    truth,
    word,
)
from lanhaven.types.models import Overflow

MOST_MODELS = 5000
MOST_ALIASES = 64
LONGEST_CONTEXT = 1 << 24  # tokens
Fields = Mapping[str, Reader[Any]]

# Bounds of S0-x2 and S4-x8, with room above where hardware grows.
GPU: Fields = MappingProxyType(
    {
        "ratio": number(0, 1).meaning("Share of the layers on the GPU."),
        "layers": integer(0, 100_000).meaning("Layers on the GPU; they win over ratio."),
    }
)
LOAD: Fields = MappingProxyType(
    {
        "context_length": integer(1, LONGEST_CONTEXT).meaning("Tokens of one request, prompt and answer together."),
        "gpu": record(GPU).meaning("How much of the model lies on the GPU: ratio or layers."),
        "gpu_ratio": GPU["ratio"].meaning("The same as ratio in gpu."),
        "gpu_layers": GPU["layers"].meaning("The same as layers in gpu."),
        "cpu_threads": integer(1, 4096).meaning("Threads that compute on the CPU."),
        "rope_frequency_base": number(0).meaning("Base frequency of the rotary position embedding."),
        "rope_frequency_scale": number(0).meaning("Scale of the rotary position embedding."),
        "slots": integer(1, 256).meaning("Requests that one instance computes at once."),
        "flash_attention": truth.meaning("Whether attention is computed the fast way."),
        "kv_type": word.meaning("Type of the numbers in the KV cache: f16, q8_0, q4_0 and others."),
        "idle_ttl": seconds.meaning("The same as ttl beside load."),
    }
)
SAMPLING: Fields = MappingProxyType(
    {
        "temperature": number(0, 2).meaning("How freely the next token is drawn; 0 = always the likeliest."),
        "top_p": number(0, 1).meaning("Only the likeliest tokens that together have this probability."),
        "top_k": integer(0, 1 << 20).meaning("Only so many of the likeliest tokens; 0 = all."),
        "min_p": number(0, 1).meaning("Only tokens at least so likely, compared with the likeliest one."),
        "repeat_penalty": number(0).meaning("Above 1, tokens that were there lately become less likely."),
        "max_tokens": integer(1, 1 << 30).meaning("Longest answer, in tokens."),
        "stop": several(text, 16).meaning("Texts that end the answer."),
        "seed": integer(-(1 << 63), (1 << 63) - 1).meaning("The same seed draws the same answer."),
        "stream": truth.meaning("Whether answers come in pieces."),
        "context_overflow": one_of(Overflow).meaning("What becomes of a prompt that is too long."),
    }
)
ENTRY: Fields = MappingProxyType(
    {
        "id": name.meaning("The name that clients use. Always text: 1.0 and no need no quotes."),
        "provider": word.meaning("Who runs the model."),
        "enabled": truth.meaning("false: as if the model were not listed."),
        "description": text.meaning("A line for people."),
        "tags": several(text, 64).meaning("Words for people and filters."),
        "aliases": several(name, MOST_ALIASES).meaning("Further names. The first entry that claims one gets it."),
        "pinned": truth.meaning("Never unloaded to make room, and loaded when the server starts."),
        "preload": truth.meaning("Loaded when the server starts."),
        "ttl": seconds.meaning("Unloads when unused this long: seconds, or 30m, 2h; 0 = never."),
        "load": record(LOAD, ttl="idle_ttl", ttl_seconds="idle_ttl").meaning("How to load the model."),
        "defaults": record(SAMPLING, stop_strings="stop", repetition_penalty="repeat_penalty").meaning(
            "What is filled in where a request is silent."
        ),
        "config": anything.meaning("The provider's own settings."),
    }
)
ONE_MODEL = record(ENTRY, ttl_seconds="ttl", idle_ttl="ttl")
NEEDED = ("id", "provider")
LISTED: Schema = {
    **ONE_MODEL.schema,
    "type": "object",
    "properties": {**ONE_MODEL.schema["properties"], **{field: ENTRY[field].schema for field in NEEDED}},
    "required": [*NEEDED],
}
TOP: Fields = MappingProxyType(
    {
        "default_model": name.meaning("The model for requests that name none while none is active: an id or an alias."),
        "max_loaded_models": integer(1, 1024).meaning("Models that requests may load into memory at once."),
        "models": Reader(
            lambda node, _: node,
            {"type": "array", "maxItems": MOST_MODELS, "items": LISTED, "description": "The models, a list."},
        ),
    }
)
WHOLE_FILE = record(TOP, written=snake)
