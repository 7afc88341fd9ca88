"""What another models.yaml changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lanhaven.types.models import ModelInfo


@dataclass(frozen=True, slots=True)
class Difference:
    """The models that are not the same before and after, by key; None: not there. `default`: the key of the default
    model before and after."""

    models: Mapping[str, tuple[ModelInfo | None, ModelInfo | None]]
    default: tuple[str | None, str | None] = (None, None)

    @property
    def added(self) -> tuple[str, ...]:
        return tuple(key for key, (before, _) in self.models.items() if before is None)

    @property
    def removed(self) -> tuple[str, ...]:
        return tuple(key for key, (_, after) in self.models.items() if after is None)

    @property
    def changed(self) -> tuple[str, ...]:
        return tuple(key for key, pair in self.models.items() if None not in pair)

    @property
    def new_default(self) -> str | None:
        """The default model, if it is another one now."""
        before, after = self.default
        return after if after != before else None

    def to_load(self) -> tuple[str, ...]:
        """The models that are to be in memory from now on, and did not have to be before."""
        marked = [key for key, (before, after) in self.models.items() if _wanted(after) and not _wanted(before)]
        return tuple(dict.fromkeys((*marked, *filter(None, (self.new_default,)))))

    def __bool__(self) -> bool:
        return bool(self.models) or self.default[0] != self.default[1]


def difference(
    before: Mapping[str, ModelInfo], after: Mapping[str, ModelInfo], default: tuple[str | None, str | None]
) -> Difference:
    """Between two states of a catalog."""
    keys = dict.fromkeys((*before, *after))
    pairs = {key: (before.get(key), after.get(key)) for key in keys}
    return Difference({key: pair for key, pair in pairs.items() if pair[0] != pair[1]}, default)


def _wanted(info: ModelInfo | None) -> bool:
    return info is not None and info.unavailable is None and (info.preload or info.pinned)
