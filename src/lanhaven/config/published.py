"""The JSON schemas of models.yaml and config.yaml, for editors; `scripts/schema` makes them of what the readers use."""

from __future__ import annotations

from importlib.resources import files

from lanhaven.errors import NotFound

NAMES = ("models", "config")


def published(name: str) -> str:
    """The schema of "models" or "config" as JSON text; NotFound for any other name."""
    if name not in NAMES:
        raise NotFound(f"There is no schema of {name!r}.", hint=f"lanhaven config schema {NAMES[0]}", retry=False)
    return files("lanhaven.config").joinpath("schemas", f"{name}.json").read_text(encoding="utf-8")
