"""What a load config asks for in vain: a provider says so, field by field, in the words of the admin API."""

from __future__ import annotations

from collections.abc import Collection

from lanhaven.providers.base import Ignored
from lanhaven.types.models import LoadConfig


def admin_name(name: str) -> str:
    """A field of LoadConfig there: gpu_ratio -> gpu.ratio, cpu_threads -> cpuThreads."""
    head, *rest = name.split("_")
    return f"gpu.{rest[0]}" if head == "gpu" else head + "".join(each.capitalize() for each in rest)


def too_long(asked: int | None, longest: int | None) -> tuple[Ignored, ...]:
    """The context that was said, where the model takes less."""
    if asked is None or longest is None or asked <= longest:
        return ()
    return (Ignored("contextLength", f"the model takes {longest} tokens at most"),)


def ignored(config: LoadConfig, honoured: Collection[str], reason: str) -> tuple[Ignored, ...]:
    """The fields that were said and are not honoured, all for this reason."""
    return tuple(Ignored(admin_name(name), reason) for name in sorted(config.said().keys() - set(honoured)))
