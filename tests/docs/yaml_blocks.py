"""YAML blocks as what they are: a models.yaml whose models can run, a config.yaml, or a script of the mock."""

from __future__ import annotations

from pathlib import Path

from ruamel.yaml import YAML

from lanhaven.config import Settings, load_settings
from lanhaven.models_file import read
from lanhaven.models_file.fields import TOP
from lanhaven.providers.base import ModelEntry, ProviderContext
from lanhaven.providers.registry import create
from lanhaven.testing.models import read_script


def check_yaml(text: str, home: Path) -> None:
    """AssertionError or InvalidRequest if it would not do what it shows. `~` in it is `home`."""
    names = set(YAML(typ="safe").load(text))
    path = home / "block.yaml"
    path.write_text(text.replace("~/", f"{home}/"), encoding="utf-8")
    if names <= set(TOP):
        file = read(path)
        assert file.entries, "it lists no model"
        for entry in file.entries:
            check_entry(entry, home)
    elif "replies" in names:
        assert read_script(path).steps, "it answers nothing"
    else:
        assert names <= set(Settings.model_fields), f"neither models.yaml nor config.yaml: {names}"
        load_settings(config_file=path)


def check_entry(entry: ModelEntry, home: Path) -> None:
    """Its provider takes it, and the model could run here."""
    info = create(entry.provider, ProviderContext(entry.provider, home)).describe(entry)
    assert info.unavailable is None, f"{entry.id}: {info.unavailable}"
