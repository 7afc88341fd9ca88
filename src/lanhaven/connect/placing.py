"""Where files of apps lie on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lanhaven.connect.recipe import Where

PROFILES = {"zsh": ".zshrc", "bash": ".bashrc"}  # of shells that read `export NAME=value`
OTHER_PROFILE = ".profile"


def path_of(where: Where, environment: Mapping[str, str], home: Path, platform: str) -> Path:
    """The file on a machine of this platform (as sys.platform says it)."""
    if where.variable is not None and environment.get(where.variable[0]):
        return Path(environment[where.variable[0]]).expanduser() / where.variable[1]
    shown = where.linux
    if platform == "darwin" and where.macos:
        shown = where.macos
    elif platform == "win32" and where.windows:
        shown = where.windows
    elif shown.startswith("~/.config/") and environment.get("XDG_CONFIG_HOME", "").startswith("/"):
        return Path(environment["XDG_CONFIG_HOME"]) / shown.removeprefix("~/.config/")
    return home / shown.removeprefix("~/") if shown.startswith("~/") else Path.cwd() / shown


def profile_of(environment: Mapping[str, str], home: Path) -> Path:
    """The file that the user's shell reads when it starts."""
    shell = Path(environment.get("SHELL", "")).name
    return home / PROFILES.get(shell, OTHER_PROFILE)
