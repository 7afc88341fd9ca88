"""The manuals name every setting, with the variables and the defaults that it really has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lanhaven.config import Settings, load_settings
from lanhaven.config.sources import ALIASES
from lanhaven.models_file import read
from lanhaven.models_file.fields import ENTRY, LOAD, SAMPLING
from lanhaven.models_file.values import snake
from lanhaven.providers.registry import OURS

ROOT = Path(__file__).parents[2]
FIELDS = sorted(Settings.model_fields)
EXAMPLES_ONLY = {  # no default that could be written down
    *("api", "also_listen", "api_key", "ip_allowlist", "allowed_hosts", "cors_origins"),
    *("models_file", "memory_budget", "run_dir", "image_hosts", "image_networks", "tls_cert", "tls_key"),
}


def rows() -> dict[str, list[str]]:
    """The tables of settings: name -> cells."""
    text = (
        (ROOT / "docs/configuration.md").read_text(encoding="utf-8").partition("\n## Settings")[2].partition("\n## ")[0]
    )
    cells = (
        [cell.strip() for cell in line.strip("| \n").split(" | ")]
        for line in text.splitlines()
        if line.startswith("| `")
    )
    return {row[0].strip("`"): row[1:] for row in cells}


def test_the_tables_hold_the_settings_and_nothing_else() -> None:
    assert sorted(rows()) == FIELDS


@pytest.mark.parametrize("name", FIELDS)
def test_the_table_tells_variables_default_and_meaning(name: str) -> None:
    variables, default, *rest = rows()[name]
    aliases = [alias.name for alias in ALIASES.get(name, ())]
    assert re.findall(r"`(\w+)`", variables) == [f"LANHAVEN_{name.upper()}", *aliases]
    assert rest[-1] == Settings.model_fields[name].description
    field = Settings.model_fields[name]
    if field.default_factory is None:
        value = field.default
        if value is None or value == ():
            assert default == ("not said" if value is None else "none")
        else:
            written = (
                str(value).lower()
                if isinstance(value, bool)
                else f"{value:g}"
                if isinstance(value, float)
                else ", ".join(value)
                if isinstance(value, tuple)
                else str(value)
            )
            assert default == f"`{written}`"


def uncommented() -> str:
    text = (ROOT / "config.example.yaml").read_text(encoding="utf-8")
    return re.sub(r"^# ([a-z_]+: .*|[a-z_]+:)$", r"\1", text, flags=re.MULTILINE)


def test_the_example_holds_every_setting_and_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text(uncommented(), encoding="utf-8")
    settings = load_settings(config_file=path)
    assert settings.model_fields_set == set(FIELDS)
    default = Settings(port=settings.port)
    changed = {name for name in FIELDS if settings.model_dump()[name] != default.model_dump()[name]}
    assert changed == EXAMPLES_ONLY


def test_the_example_as_it_stands_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text((ROOT / "config.example.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    assert load_settings(config_file=path) == Settings()


@pytest.mark.req("S4-13", "S4-x5")
def test_the_models_example_shows_every_field_and_reads() -> None:
    path = ROOT / "models.example.yaml"
    models = read(path)
    assert (models.default_model, models.max_loaded_models) == ("smollm2", 2)
    first = models.entries[0]
    assert {each.provider for each in models.entries} == {*OURS} - {"mock"}
    assert [each.id for each in models.entries if each.enabled] == ["smollm2", "qwen-coder"]
    assert first.load.idle_ttl == 1800.0
    said = {snake(name) for name in re.findall(r"([A-Za-z]+):\s", path.read_text(encoding="utf-8"))}
    grouped = {"gpu_ratio", "gpu_layers", "idle_ttl"}  # written as gpu: {...} and ttl
    assert {*ENTRY, *LOAD, *SAMPLING} - grouped <= said
