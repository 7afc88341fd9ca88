"""What a request may say about how its images are handed to the model."""

from __future__ import annotations

from dataclasses import dataclass

JPEG_QUALITY = 85


@dataclass(frozen=True, slots=True)
class Sizing:
    """Pixels; an image keeps its proportions and is never enlarged. None: not said.

    quality: of the JPEG that every image becomes if it is said. keep_alpha: transparency stays, else it becomes white.
    """

    longest: int | None = None  # side
    width: int | None = None
    height: int | None = None
    quality: int | None = None  # 1..100
    keep_alpha: bool = False
