"""The lines of LM Studio's server log, read into events. Pure.

    [2025-07-19 20:33:33][INFO][LM STUDIO SERVER] Running chat completion on conversation with 9 messages.
    [2025-07-19 20:33:33][DEBUG] Sampling params: repeat_last_n = 64, repeat_penalty = 1.100
        top_k = 40, top_p = 1.000, temp = 0.500
    Generate: n_ctx = 4096, n_batch = 512, n_predict = 512, n_keep = 42
    Cache reuse summary: 939/939 of prompt (100%), 939 prefix, 0 non-prefix
    Total prompt tokens: 939
    Prompt tokens to decode: 1
    BeginProcessingPrompt

(LM Studio 0.3.18, as quoted in its bug tracker, issues 597 and 778.) The log holds prompts and answers too, in lines of
any form: only lines that are known word for word are told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from lanhaven.lmstudio.log_events import (
    LMStudioCacheStats,
    LMStudioChatStart,
    LMStudioLog,
    LMStudioProcessingStart,
    LMStudioPromptProgress,
    LMStudioSamplingParams,
    LMStudioTokenInfo,
)

_HEAD = re.compile(r"\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\]\[([A-Z]{3,8})\]((?:\[[^\[\]]{0,120}\])*) ?(.*)")
_TAG = re.compile(r"\[([^\[\]]+)\]")
_VALUE = r"[a-z_]{1,40} = -?\d{1,12}(?:\.\d{1,6})?"
_VALUES = re.compile(rf"\s*{_VALUE}(?:, {_VALUE})*\s*")
_EACH = re.compile(r"([a-z_]+) = (-?[\d.]+)")
_SAMPLING = "Sampling params:"
# What is told as it stands, up to the end of the match: no prompt can be in it.
_KNOWN = re.compile(
    r"(?:Running chat completion on conversation with \d+ messages|Streaming response|Finished streaming response"
    r"|First token generated\. Continuing to stream response|Client disconnected\. Stopping generation|Client created"
    r"|Client disconnected|BeginProcessingPrompt|FinishedProcessingPrompt|Prompt processing progress: \d+(?:\.\d+)?%"
    r"|Received request: [A-Z]{3,7} to /[\w/.:-]{0,200}|Server started|Stopping server|Server stopped"
    r"|HTTP server listening on port \d+|Just-in-time loading|JIT loading)"
)
_CHAT = re.compile(r"Running chat completion on conversation with (\d{1,9}) messages?\.?")
_PROGRESS = re.compile(r"Prompt processing progress: (\d{1,3}(?:\.\d{1,9})?)%")
_CACHE = re.compile(
    r"Cache reuse summary: (\d{1,12})/(\d{1,12}) of prompt \((\d{1,3}(?:\.\d{1,9})?)%\), (\d{1,12}) prefix, "
    r"(\d{1,12}) non-prefix"
)
_GENERATE = re.compile(rf"Generate: ({_VALUE}(?:, {_VALUE})*)")
_TOTAL = re.compile(r"Total prompt tokens: (\d{1,12})")
_DECODE = re.compile(r"Prompt tokens to decode: (\d{1,12})")


@dataclass(frozen=True, slots=True)
class _Head:
    """What the last line with a date said of itself; lines without one belong to it."""

    logged_at: str
    level: str
    source: str | None


class ServerLog:
    """Takes the lines of one LM Studio's log in their order."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._head = _Head("", "", None)
        self._params: dict[str, float] | None = None  # of a list that may go on in the next line
        self._counts: Mapping[str, int] = MappingProxyType({})
        self._total: int | None = None

    def read(self, lines: Iterable[str]) -> Iterator[LMStudioLog]:
        """The events of these lines."""
        for line in lines:
            yield from self._read(line.rstrip("\r"))

    def rest(self) -> Iterator[LMStudioLog]:
        """What waited for a further line; for when none comes."""
        params, self._params = self._params, None
        if params:
            yield LMStudioSamplingParams(**self._about(_SAMPLING), params=params)

    def _read(self, line: str) -> Iterator[LMStudioLog]:
        found = _HEAD.fullmatch(line)
        text = found[4] if found is not None else line
        if found is None and self._params is not None and _VALUES.fullmatch(line):
            self._params.update(_numbers(line))
            return
        yield from self.rest()
        if found is not None:
            known = _KNOWN.match(text)
            message = known[0] if known is not None else _SAMPLING if text.startswith(_SAMPLING) else None
            source = ", ".join(_TAG.findall(found[3])) if message is not None else ""
            self._head = _Head(found[1], found[2], source or None)
            yield LMStudioLog(**self._about(message))
        yield from self._facts(text.strip())

    def _facts(self, text: str) -> Iterator[LMStudioLog]:
        """Known forms only, and of them only the numbers."""
        if text.startswith(_SAMPLING):
            listed = text.removeprefix(_SAMPLING)
            self._params = _numbers(listed) if _VALUES.fullmatch(listed) else {}
        elif (generate := _GENERATE.fullmatch(text)) is not None:
            self._counts = {name: int(value) for name, value in _numbers(generate[1]).items()}
        elif (total := _TOTAL.fullmatch(text)) is not None:
            self._total = int(total[1])
        elif (decode := _DECODE.fullmatch(text)) is not None:
            yield self._token_info(text, int(decode[1]))
        elif (made := next(filter(None, (make(self._about(text), text) for make in _MAKERS)), None)) is not None:
            yield made

    def _token_info(self, text: str, decode: int) -> LMStudioTokenInfo:
        counts, total = self._counts, self._total
        self._counts, self._total = MappingProxyType({}), None
        return LMStudioTokenInfo(
            **self._about(text), counts=counts, total_prompt_tokens=total, prompt_tokens_to_decode=decode
        )

    def _about(self, message: str | None) -> dict[str, Any]:
        head = self._head
        return {
            "host": self._host,
            "logged_at": head.logged_at,
            "level": head.level,
            "source": head.source,
            "message": message,
        }


def _numbers(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in _EACH.findall(text)}


def _chat(about: dict[str, Any], text: str) -> LMStudioLog | None:
    found = _CHAT.fullmatch(text)
    return LMStudioChatStart(**about, messages=int(found[1])) if found is not None else None


def _progress(about: dict[str, Any], text: str) -> LMStudioLog | None:
    found = _PROGRESS.fullmatch(text)
    return LMStudioPromptProgress(**about, progress=float(found[1])) if found is not None else None


def _cache(about: dict[str, Any], text: str) -> LMStudioLog | None:
    found = _CACHE.fullmatch(text)
    if found is None:
        return None
    reused, total, prefix, other = (int(found[place]) for place in (1, 2, 4, 5))
    share = float(found[3])
    return LMStudioCacheStats(**about, reused=reused, total=total, percentage=share, prefix=prefix, non_prefix=other)


def _begin(about: dict[str, Any], text: str) -> LMStudioLog | None:
    return LMStudioProcessingStart(**about) if text == "BeginProcessingPrompt" else None


_MAKERS: tuple[Callable[[dict[str, Any], str], LMStudioLog | None], ...] = (_chat, _progress, _cache, _begin)
