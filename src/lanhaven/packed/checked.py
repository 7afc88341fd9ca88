"""Bytes that are counted and hashed on their way."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lanhaven.errors import InvalidModelFile

# (stage, bytes done, bytes in all or None). Stages: "waiting" (for another process), "downloading", "unpacking", and
# for a model that is made here "converting" and "checking".
Progress = Callable[[str, int, int | None], None]

_BLOCK = 4 << 20


@dataclass(frozen=True, slots=True)
class Pinned:
    """A file that is accepted with this size in bytes and this SHA-256 only."""

    name: str
    size: int
    sha256: str


@dataclass(slots=True)
class Stage:
    """One stage of a fetch: adds up what was done and reports it."""

    name: str
    total: int
    progress: Progress
    done: int = 0

    def add(self, count: int) -> None:
        """`count` bytes more are done."""
        self.done += count
        self.progress(self.name, self.done, self.total)


def copy_checked(source: IO[bytes], target: IO[bytes] | None, pinned: Pinned, stage: Stage) -> None:
    """Copy `source` to `target` (None: only read it). InvalidModelFile unless size and hash are the pinned ones."""
    digest = hashlib.sha256()
    size = 0
    while size <= pinned.size and (block := source.read(_BLOCK)):  # no more than it should be: it may be a zip bomb
        digest.update(block)
        size += len(block)
        if target is not None:
            target.write(block)
        stage.add(len(block))
    if size != pinned.size or digest.hexdigest() != pinned.sha256:
        raise not_as_pinned(pinned)


def not_as_pinned(pinned: Pinned) -> InvalidModelFile:
    """What arrived is damaged, or was changed at its source."""
    return InvalidModelFile(
        f"{pinned.name} is not the file that is expected: its size, contents or hash differ.",
        hint="Try again; if it stays so, the package index in use delivers another file.",
        facts={"reason": "wrong_checksum"},
    )


def sync(path: Path) -> None:
    """Put the bytes on the disk before the file gets its name: later only its size is looked at."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
