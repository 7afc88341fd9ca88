"""What llama.cpp's log says: the stages of a load, the values it really uses, and why something failed.

Lines look like `0.00.295.745 I srv    load_model: initializing, n_slots = 2, ...` (verbosity 4); of everything that can
go wrong, its interface says only "Failed to init server": the cause stands here (xllamacpp 2026.10).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

# Part of a line -> the stage that begins with it, in the order in which they come.
STAGES: Mapping[str, str] = MappingProxyType(
    {
        "load_model: loading model": "loading",
        "load_tensors: loading model tensors": "loading tensors",
        "constructing llama_context": "allocating",
        "warming up the model": "warming up",
        "load_model: initializing, n_slots": "preparing slots",
    }
)

LAST_STAGE = "load_model: initializing, n_slots"  # all that follows it is quick, but for a hostile chat template
LAST_LINE = "init: listening on"  # of a load

_ERROR = re.compile(r"^\d+\.\d\d\.\d{3}\.\d{3} E (?P<text>.*)$")
_PREFIX = re.compile(r"^(?:srv|slot|cmn|spec|que|res)\s+")
_ABORT = re.compile(
    r"GGML_ASSERT|GGML_ABORT|terminate called|what\(\):|CUDA error|out of memory|^\w*(?:Error|Exception): "
)
# What a llama-server says of its command line, and the system of its libraries.
_REFUSED = re.compile(r"^error: |error while loading shared libraries|^dyld\b")
# Errors that only say that there was one.
_EMPTY = re.compile(
    r"failed to load (?:multimodal )?model(?:,? '[^']*')?$|failed to load model from|Failed to load CLIP model"
    r"|failed to create(?: |_)context|exiting due to|error loading model$"
)
_LINE = re.compile(r"^\d+\.\d\d\.\d{3}\.\d{3} [A-Z] ")
# What llama.cpp writes of a request that it refuses: schemas, grammars, patterns and answers stand in it.
_QUOTES = re.compile(r"(?P<mark>got exception|Failed to parse|error parsing|JSON schema)\b.*")
_QUOTED_PATH = re.compile(r"(['\"])(?:[A-Za-z]:\\|/)[^'\"]*[/\\](?=[^'\"/\\]+\1)")
_PATH = re.compile(r"(?:[A-Za-z]:\\|/)[^\s'\":,;()]*[/\\](?=[^\s'\":,;()/\\])")

_FACTS: Mapping[str, tuple[re.Pattern[str], Callable[[str], int | float | str]]] = MappingProxyType(
    {
        "context_length": (re.compile(r"initializing, n_slots = \d+, n_ctx_slot = (\d+)"), int),
        "slots": (re.compile(r"initializing, n_slots = (\d+)"), int),
        "cpu_threads": (re.compile(r"system_info: n_threads = (\d+)"), int),
        "rope_frequency_base": (re.compile(r"llama_context: freq_base +=\s+([\d.e+-]+)"), float),
        "rope_frequency_scale": (re.compile(r"llama_context: freq_scale +=\s+([\d.e+-]+)"), float),
        "kv_type": (re.compile(r"llama_kv_cache: size =.*K \((\w+)\)"), str),
        "flash_attention": (re.compile(r"llama_context: flash_attn +=\s+(\w+)|Flash Attention (\w+)"), str),
        "gpu_layers": (re.compile(r"offloaded (\d+)/\d+ layers to GPU"), int),
    }
)


def stage_of(line: str) -> str | None:
    """The stage that this line begins."""
    return next((stage for mark, stage in STAGES.items() if mark in line), None)


def facts(lines: Iterable[str]) -> dict[str, int | float | str]:
    """The values that the engine says it uses, by LoadConfig field name; only those it names. The last word counts."""
    found: dict[str, int | float | str] = {}
    for line in lines:
        for name, (pattern, convert) in _FACTS.items():
            if (match := pattern.search(line)) is not None:
                found[name] = convert(next(group for group in match.groups() if group is not None))
    return found


def reason(lines: Sequence[str]) -> str | None:
    """Why it failed: the first error that says something, without paths; None if the log holds no error."""
    errors = [match["text"] for line in lines if (match := _ERROR.match(line)) is not None]
    told = [text for text in errors if not _EMPTY.search(text)]
    aborts = [line for line in lines if _ABORT.search(line)]
    refused = [line for line in lines if _REFUSED.search(line)]
    chosen = next(iter([*told, *aborts[-1:], *refused[:1], *errors]), None)
    return _worded(chosen) if chosen is not None else None


def abort_reason(lines: Sequence[str]) -> str | None:
    """Why a running engine ended: what native code or Python wrote last. Errors of single requests do not count."""
    last = next((line for line in reversed(lines) if _ABORT.search(line)), None)
    return _worded(last) if last is not None else None


def without_requests(line: str) -> str | None:
    """What may be kept of a line of an engine that takes requests: nothing that quotes one.

    Lines of the log, cut where they begin to quote; of others, which grammar and schema parsers write, only the last
    words of a program that ends, and those only without quotation marks.
    """
    if _LINE.match(line):
        return _QUOTES.sub(r"\g<mark> (not kept)", line)
    return line if _ABORT.search(line) and not re.search(r"[\"'{]", line) else None


def _worded(text: str) -> str:
    """Without the part of the program that speaks."""
    return without_paths(_PREFIX.sub("", text.strip()))


def without_paths(text: str) -> str:
    """With file names in place of paths."""
    return _PATH.sub("", _QUOTED_PATH.sub(r"\1", text))
