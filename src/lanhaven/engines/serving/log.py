"""The worker's log: lines as llama.cpp writes them, so that one reader of the gateway knows both.

0.01.234.567 I srv    loading weights 0.42
"""

from __future__ import annotations

import re
import sys
import time

_STAGE = re.compile(r" I srv    (?P<stage>loading [a-z ]+?)(?: (?P<share>[01]\.\d\d))?$")


class Log:
    """Writes to standard error. Times are counted from its making."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.at = "starting"  # the stage that was told last

    def stage(self, text: str) -> None:
        self.at = text
        self._write("I", text)

    def failure(self, text: str) -> None:
        self._write("E", text)

    def native(self, level: str, text: str) -> None:
        """A line of the engine's own, without its name for itself."""
        self._write(level, text, "")

    def _write(self, level: str, text: str, source: str = "srv    ") -> None:
        passed = int((time.monotonic() - self._began) * 1_000_000)
        seconds, micros = divmod(passed, 1_000_000)
        clock = f"{seconds // 60}.{seconds % 60:02}.{micros // 1000:03}.{micros % 1000:03}"
        sys.stderr.write(f"{clock} {level} {source}{' '.join(text.split())}\n")
        sys.stderr.flush()


def stage_of(line: str) -> tuple[str, float | None] | None:
    """The stage that a line of this log tells, with the share of it that is done."""
    found = _STAGE.search(line)
    if found is None:
        return None
    return found["stage"], float(found["share"]) if found["share"] else None
