"""What a load takes of this machine's memory, item by item."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """Bytes. `later`: how much of them is not taken by the load, but afterwards, by use (a prompt cache that fills)."""

    weights: int
    kv: int = 0
    compute: int = 0
    prompt_cache: int = 0
    base: int = 0  # of the engine itself
    projector: int = 0
    later: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.projector + self.kv + self.compute + self.prompt_cache + self.base
