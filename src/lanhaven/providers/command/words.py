"""What a program says: its secrets taken out, the stages of its start, the reason of its end."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence

from lanhaven.engines.command_worker import OURS
from lanhaven.engines.llamacpp_log import without_paths
from lanhaven.providers.children import Progress

SHORTEST = 4  # letters of a secret: to strike out less would strike out words
LAST = 40  # lines among which a reason is looked for
LONGEST = 300  # letters of a reason
STRUCK = "***"
EFFORT_EVERY = 1.0  # seconds between two signs of life that are told

_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|PWD|CREDENTIAL|AUTH|PRIVATE", re.IGNORECASE)
_TELLING = re.compile(
    r"\b\w*(?:Error|Exception)\b|\b(?:error|exception|fatal|failed|failure|cannot|can't|could not|couldn't|unable"
    r"|no such|not found|unknown|unrecognized|invalid|denied|refused|memory|panic|abort\w*|in use)\b",
    re.IGNORECASE,
)
_CRASH = re.compile(
    r"GGML_ASSERT|GGML_ABORT|terminate called|what\(\):|CUDA error|out of memory|panic|fatal|Segmentation"
    r"|^\w*(?:Error|Exception): ",
    re.IGNORECASE,
)
_TAKEN = re.compile(
    r"address (?:is )?already in use|EADDRINUSE|port \d+ is (?:already )?(?:in use|taken|allocated|occupied)"
    r"|(?:failed to|unable to|could ?n[o']t|cannot) (?:bind|listen)",
    re.IGNORECASE,
)
_LOADING = re.compile(r"load|shard|weight|fetch|download|tensor|%\|", re.IGNORECASE)
_PERCENT = re.compile(r"(?<![\d.])(\d{1,3})(?:\.\d+)? ?%")


def secrets_of(command: Sequence[str], env: Mapping[str, str], *keys: str | None) -> frozenset[str]:
    """What may stand in no log: `keys`, variables that sound like secrets, and what follows such an option."""
    found = [value for name, value in env.items() if _SECRET.search(name)]
    for option, value in zip(command, (*command[1:], ""), strict=True):
        name, equals, rest = option.partition("=")
        if name.startswith("-") and _SECRET.search(name):
            found.append(rest if equals else value)
    lines = (line for text in (*found, *keys) if text for line in text.splitlines())
    return frozenset(line.strip() for line in lines if len(line.strip()) >= SHORTEST)


def struck(line: str, secrets: Iterable[str]) -> str:
    """The line without the secrets; the longest first, because one may be part of another."""
    for secret in sorted(secrets, key=len, reverse=True):
        line = line.replace(secret, STRUCK)
    return line


def reason(lines: Sequence[str]) -> str | None:
    """Why it did not start: our own word, else the last line that tells of a failure, else the last line."""
    said = [line.strip() for line in lines[-LAST:] if line.strip()]
    ours = [line.removeprefix(OURS) for line in said if line.startswith(OURS)]
    telling = [line for line in said if _TELLING.search(line)]
    chosen = next(iter([*ours[-1:], *telling[-1:], *said[-1:]]), None)
    return without_paths(chosen)[:LONGEST] if chosen is not None else None


def crash_reason(lines: Sequence[str]) -> str | None:
    """Why it ended after it had served: last words, if they cannot be a quotation of a request."""
    last = next((line for line in reversed(lines) if _CRASH.search(line) and not re.search(r"[\"'{]", line)), None)
    return without_paths(last.strip())[:LONGEST] if last is not None else None


def is_taken(lines: Iterable[str]) -> bool:
    """Whether it says that somebody else listens at its port."""
    return any(_TAKEN.search(line) for line in lines)


def stage_of(line: str) -> tuple[str, float | None] | None:
    """A line that tells how far the load has come: "Loading weights:  45%"."""
    shares = [int(each) for each in _PERCENT.findall(line)] if _LOADING.search(line) else []
    return ("loading", shares[-1] / 100) if shares and shares[-1] <= 100 else None


class Listening:
    """Tells of each line what it means for the load, and of the others, now and then, that there was one."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._told = float("-inf")
        self._stage: tuple[str, float | None] | None = None

    def line(self, line: str) -> None:
        stage = stage_of(line)
        if stage is not None and stage != self._stage:
            self._stage = stage
            self._progress.line(line)
        elif (now := asyncio.get_running_loop().time()) - self._told >= EFFORT_EVERY:
            self._told = now
            self._progress.effort()
