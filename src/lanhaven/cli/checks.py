"""What one check of `doctor` found."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

from lanhaven.cli import output

Level = Literal["ok", "warn", "fail"]
STYLES = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "bold red")}


@dataclass(frozen=True, slots=True)
class Check:
    """One line. `remedy` says what to do; a failed check always has one."""

    name: str
    level: Level
    text: str
    remedy: str | None = None

    def record(self) -> dict[str, str | None]:
        """For --json."""
        return {"check": self.name, "level": self.level, "text": self.text, "remedy": self.remedy}

    def show(self) -> None:
        """A line for a terminal, or tab-separated in a pipe."""
        if not sys.stdout.isatty():
            output.data("\t".join((self.level, self.name, self.text, self.remedy or "")))
            return
        mark, style = STYLES[self.level]
        output.parts([(f"{mark} ", style), (f"{self.name:14} ", "dim"), (self.text, "")])
        if self.remedy:
            output.parts([(" " * 17, ""), ("Try  ", "dim"), (self.remedy, "")])
