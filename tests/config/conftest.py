"""Settings tests run in an empty folder, an empty home and an environment that says nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanhaven.config.environ import environment
from lanhaven.config.sources import ALIASES, PREFIX


@pytest.fixture(autouse=True)
def nothing_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder."""
    aliases = {alias.name for each in ALIASES.values() for alias in each}
    for name in environment():
        if name.startswith((PREFIX, "XDG_", "LM_STUDIO_")) or name in aliases:
            monkeypatch.delenv(name)
    home, folder = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(folder)
    return folder
