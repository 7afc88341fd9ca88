"""What a load takes: memory and time, as the headers say, and as the last real load taught.

A provider's arithmetic is a guess. The first real load shows what the engine took; from then on this is what the next
one is admitted by. What is learnt holds for one model, its file as it is, and the fields of a load config that matter
to memory; it is forgotten as soon as the file, or the arithmetic itself, gives another figure.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import msgspec

from lanhaven.errors import GatewayError
from lanhaven.providers.base import Itemises, Provider
from lanhaven.types.memory import MemoryEstimate
from lanhaven.types.models import LoadConfig, ModelInfo

REMEMBERED = 512  # lessons; some 200 bytes each
MATTERS = ("context_length", "slots", "kv_type", "gpu_ratio", "gpu_layers", "flash_attention")
STEP = 256  # tokens: engines round a context up to such steps
_START = 1.0  # seconds that any load takes
_DISK = 500 << 20  # bytes a second that a load reads, until it is known better


@dataclass(frozen=True, slots=True)
class Need:
    """Of a load. bytes: of this machine's memory, 0 = none or unknown. parts: what the arithmetic says, where there is
    one. seconds: how long the last load took; before the first one a guess by size."""

    bytes: int
    learnt: bool = False
    parts: MemoryEstimate | None = None
    seconds: float = 0.0


class Lesson(msgspec.Struct, frozen=True):
    """What one load taught. `computed`: what the arithmetic had said; `taken` 0 = nothing learnt about memory."""

    model: str
    config: str
    file: str
    computed: int
    taken: int
    seconds: float


class Ledger:
    """Needs of loads, and what was learnt. Bounded: what was not loaded for longest is forgotten.

    `changes` counts what was learnt, for whoever keeps `lessons()` over a restart.
    """

    def __init__(self, providers: Mapping[str, Provider], remembered: int = REMEMBERED) -> None:
        self._providers, self._remembered = providers, remembered
        self._lessons: OrderedDict[tuple[str, str], Lesson] = OrderedDict()
        self._seconds: dict[str, float] = {}
        self.changes = 0

    # Asking.

    def need(self, info: ModelInfo, config: LoadConfig) -> Need:
        """What a load would take."""
        provider = self._providers[info.provider]
        seconds = self._seconds.get(info.key) or _START + info.size_bytes / _DISK
        if not isinstance(provider, Itemises):
            return Need(provider.estimate(info, config), seconds=seconds)
        parts = provider.itemise(info, config)
        if parts is None:
            return Need(0, seconds=seconds)
        lesson = self._lessons.get((info.key, _matters(config)))
        if lesson is not None and lesson.taken and lesson.computed == parts.total and lesson.file == _file(info):
            return Need(lesson.taken, True, parts, seconds)
        return Need(parts.total, False, parts, seconds)

    def largest_context(self, info: ModelInfo, config: LoadConfig, available_bytes: int) -> int | None:
        """The longest context that fits into so many bytes: the model's own, or in steps of 256 tokens; None if none
        does, or nobody knows. By arithmetic, set right by what was learnt for the context that was asked for."""
        provider = self._providers[info.provider]
        try:
            asked = self.need(info, config)
            if info.max_context is None or asked.parts is None:
                return None
            room = available_bytes + asked.parts.total - asked.bytes
            return longest(
                lambda tokens: provider.estimate(info, replace(config, context_length=tokens)) <= room, info.max_context
            )
        except GatewayError:  # nothing can be said of such a config: that it is wrong is said elsewhere
            return None

    # Learning.

    def learn(
        self, info: ModelInfo, config: LoadConfig, before: Need, size_bytes: int, seconds: float, *, alone: bool
    ) -> Need:
        """A load is done, and the engine holds `size_bytes`; returns what is known now. before: what was known. alone:
        no other instance of the model is there, with which it would share the pages of the weights."""
        if seconds <= 0:
            return before  # it was found running
        taken = computed = 0
        if size_bytes > 0 and alone and before.parts is not None:
            taken, computed = size_bytes + before.parts.later, before.parts.total
        self._keep(Lesson(info.key, _matters(config), _file(info), computed, taken, round(seconds, 3)))
        self.changes += 1
        return replace(before, bytes=taken or before.bytes, learnt=taken > 0 or before.learnt, seconds=seconds)

    def saw(self, info: ModelInfo, config: LoadConfig, size_bytes: int) -> None:
        """An instance holds `size_bytes` now: its like needs no less."""
        lesson = self._lessons.get((info.key, _matters(config)))
        if lesson is not None and 0 < lesson.taken < size_bytes:
            self._keep(msgspec.structs.replace(lesson, taken=size_bytes))
            self.changes += 1

    def _keep(self, lesson: Lesson) -> None:
        key = (lesson.model, lesson.config)
        former = self._lessons.pop(key, None)
        if not lesson.taken and former is not None:
            lesson = msgspec.structs.replace(former, seconds=lesson.seconds)
        self._lessons[key] = lesson
        self._seconds[lesson.model] = lesson.seconds
        if len(self._lessons) > self._remembered:
            self._lessons.popitem(last=False)

    # Over a restart.

    def lessons(self) -> bytes:
        """All that was learnt."""
        return msgspec.json.encode(list(self._lessons.values()))

    def restore(self, kept: bytes) -> None:
        """What `lessons()` gave at another time. ValueError for anything else; then nothing has changed."""
        for lesson in msgspec.json.decode(kept, type=list[Lesson]):
            self._keep(lesson)

    def __repr__(self) -> str:
        return f"Ledger({len(self._lessons)} lessons)"


def longest(fits: Callable[[int], bool], most: int) -> int | None:
    """The largest number of tokens up to `most` that fits, in steps of 256; None if not even one step does."""
    if fits(most):
        return most
    fitting, too_long = 0, -(-most // STEP)  # in steps; more context never takes less
    while too_long - fitting > 1:
        middle = (fitting + too_long) // 2
        if fits(middle * STEP):
            fitting = middle
        else:
            too_long = middle
    return fitting * STEP or None


def _matters(config: LoadConfig) -> str:
    said = config.said()
    return " ".join(f"{name}={said[name]}" for name in MATTERS if name in said)


def _file(info: ModelInfo) -> str:
    """What changes when the model's file does."""
    if info.path is None:
        return str(info.size_bytes)
    try:
        stat = info.path.stat()
    except OSError:
        return ""
    return f"{info.size_bytes} {stat.st_size} {stat.st_mtime_ns}"
