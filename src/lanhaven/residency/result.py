"""What an explicit load answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lanhaven.providers.base import Ignored
from lanhaven.types.models import Instance


@dataclass(frozen=True, slots=True)
class LoadResult:
    """`reused`: an instance with the same load config was there, or on its way. `seconds`: from order to ready."""

    instance: Instance
    reused: bool
    seconds: float
    applied: Mapping[str, object]
    ignored: tuple[Ignored, ...]
