"""A models.yaml that people change while it is in use (F-172)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from lanhaven.config.yaml_text import read_text, wrong
from lanhaven.models_file.edit import Editor, apply
from lanhaven.models_file.read import ModelsFile, understood

Mark = tuple[int, int, int, int]
UNSEEN: Mark = (-1, -1, -1, -1)


class Watched:
    """What the file says, and whether it says something else by now. Blocks on files; for one thread at a time.

    A change counts when the file looks the same from one look to the next: editors write in pieces, or put another file
    in its place. Text that was read once is not told again, be it right or wrong, whoever wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: Mark | None = UNSEEN
        self._read: Mark | None = UNSEEN
        self._text: str | None = ""

    def read(self) -> ModelsFile:
        """As it is now; a file that is not there has no models. InvalidRequest where it is wrong."""
        text = self._text = self._content()
        return understood(text, self.path)

    def edit(self, change: Callable[[Editor], None]) -> ModelsFile:
        """Change it, keeping what others wrote, and tell what it says then. GatewayErrors as of `edit`."""
        apply(self.path, change)
        return self.read()

    def changed(self) -> ModelsFile | None:
        """One look: its models, if it has changed and settled; else None. InvalidRequest, once, where it is wrong then.

        A file that is empty or gone is wrong here: mostly it is about to be written.
        """
        now = _mark(self.path)
        settled, self._seen = now == self._seen, now
        if not settled or now == self._read:
            return None
        self._read = now
        known, self._text = self._text, None  # None stays where it cannot be read at all
        text = self._text = self._content()
        if text == known:
            return None
        if not text.strip():
            problem = "is empty" if now else "is gone"
            raise wrong(self.path.name, None, problem, hint="lanhaven reload, if no models are to be listed")
        return understood(text, self.path)

    def _content(self) -> str:
        try:
            return read_text(self.path)
        except FileNotFoundError:
            return ""

    def __repr__(self) -> str:
        return f"Watched({self.path})"


def _mark(path: Path) -> Mark | None:
    """What tells two states of a file apart without reading it; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - follows links, as reading does
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
