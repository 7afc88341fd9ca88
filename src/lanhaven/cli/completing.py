"""Names for the shell's completion: asked from the server, which gets 0.3 s; else those it named the last time."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from lanhaven.cli.failure import CliError

PATIENCE = 0.3  # seconds: longer than that, Tab feels broken
FILE_NAME = "completion.json"


def models(incomplete: str) -> list[str]:
    """Keys and aliases of models."""
    return [name for name in _names()["models"] if name.startswith(incomplete)]


def models_and_instances(incomplete: str) -> list[str]:
    """Keys, aliases, and identifiers of what is in memory."""
    names = _names()
    return [name for name in dict.fromkeys([*names["models"], *names["instances"]]) if name.startswith(incomplete)]


def _names() -> dict[str, list[str]]:
    from lanhaven.cli.connection import connect
    from lanhaven.config.places import cache_dir

    file = cache_dir() / FILE_NAME
    try:
        with connect(None, None) as server:
            answer = server.get("/admin/models", timeout=PATIENCE)
    except CliError:
        return _remembered(file)
    models = [name for each in answer["downloaded"] for name in (each["path"], *each["aliases"])]
    names = {"models": models, "instances": [each["identifier"] for each in answer["loaded"]]}
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(names), encoding="utf-8")
    return names


def _remembered(file: Path) -> dict[str, list[str]]:
    try:
        names = json.loads(file.read_text(encoding="utf-8"))
        return {kind: [str(name) for name in names[kind]] for kind in ("models", "instances")}
    except (OSError, ValueError, KeyError, TypeError):
        return {"models": [], "instances": []}
