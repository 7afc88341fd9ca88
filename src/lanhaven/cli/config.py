"""`config`: what is set, where files lie, whether they are right, what they may say; a setting or a file changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lanhaven.cli import config_edit, output
from lanhaven.cli.connection import Json
from lanhaven.cli.help_text import Command, Group, show_help
from lanhaven.cli.output import Column, Row

if TYPE_CHECKING:
    from lanhaven.config import Settings


def commands() -> typer.Typer:
    """The group."""
    group = typer.Typer(cls=Group, help="Show, check and change the settings.", rich_markup_mode=None)
    group.callback(invoke_without_command=True)(show_help)
    group.command("show", cls=Command)(show)
    group.command("path", cls=Command)(path)
    group.command("check", cls=Command)(check)
    group.command("set", cls=Command)(set_setting)
    group.command("edit", cls=Command)(config_edit.edit)
    group.command("schema", cls=Command)(schema)
    return group


def show(
    origin: Annotated[bool, typer.Option("--origin", help="Tell where each value came from.")] = False,
    changed: Annotated[bool, typer.Option("--changed", help="Leave out what is at its default.")] = False,
    json: Json = False,
) -> None:
    """Show the settings; secrets are masked."""
    from lanhaven.config import load_settings, origins

    values = load_settings().public()
    sources = origins()
    names = [name for name in values if not changed or sources[name].kind != "default"]
    rows = [{"setting": name, "value": values[name], "origin": str(sources[name])} for name in names]
    if json:
        output.document({name: _entry(values[name], str(sources[name]) if origin else None) for name in names})
        return
    columns = [Column("SETTING", lambda r: r["setting"]), Column("VALUE", lambda r: r["value"], cut=True)]
    if origin:
        columns.append(Column("ORIGIN", lambda r: r["origin"], cut=True))
    output.rows(columns, rows, empty="every setting is at its default")


def _entry(value: object, origin: str | None) -> object:
    return value if origin is None else {"value": value, "origin": origin}


def path(json: Json = False) -> None:
    """Show where files lie, and whether they are there."""
    from lanhaven.config import find_config_file, load_settings

    settings = load_settings()
    places = {
        "config": find_config_file(),
        "models": models_path(settings),
        "data": settings.data_dir,
        "state": settings.state_dir,
        "cache": settings.cache_dir,
        "run": settings.run_dir,
    }
    rows = [{"name": name, "path": str(place), "exists": place.exists()} for name, place in places.items()]
    if json:
        output.document({row["name"]: {"path": row["path"], "exists": row["exists"]} for row in rows})
        return
    columns = (
        Column("NAME", lambda r: r["name"]),
        Column("PATH", lambda r: r["path"]),
        Column("THERE", lambda r: r["exists"], _there),
    )
    output.rows(columns, rows, empty="")


def check(json: Json = False) -> None:
    """Check config.yaml, the environment and models.yaml; the first mistake is told with its file and line."""
    from lanhaven.config import load_settings
    from lanhaven.models_file import read

    settings = load_settings()
    file = models_path(settings)
    count = len(read(file).entries)
    if json:
        output.document({"ok": True, "modelsFile": str(file), "models": count})
        return
    output.message(f"settings are right; {file} is right ({count} {'model' if count == 1 else 'models'})")


def set_setting(
    name: Annotated[str, typer.Argument(metavar="SETTING", help="A setting of docs/configuration.md.")],
    value: Annotated[str, typer.Argument(help='Lists with commas; "" removes the setting.')],
    json: Json = False,
) -> None:
    """Write one setting into config.yaml; its comments stay. The server reads it when it starts."""
    from lanhaven.config import atomic, find_config_file, origins
    from lanhaven.config.sources import check_file
    from lanhaven.config.yaml_text import Scalar, plain, read_text
    from lanhaven.models_file.lines import Lines

    file, name = find_config_file(), name.replace("-", "_")
    with atomic.locked(file):
        text = read_text(file) if file.exists() else ""
        changed = Lines(text, file.name).with_setting(name, plain(Scalar(value, quoted=False, line=0)))
        check_file(changed, file)
        atomic.write_text(file, changed)
    origin = origins().get(name)
    if json:
        output.document({"setting": name, "file": str(file), "origin": str(origin)})
        return
    output.message(f"{name} {'set' if value else 'removed'} in {file}; it holds from the next start on")
    if origin is not None and value and origin.kind != "file":
        output.note(f"{origin} wins over the file")


def schema(
    name: Annotated[str, typer.Argument(metavar="models|config", help="Of which file.")] = "models",
) -> None:
    """Print the JSON schema of models.yaml or config.yaml, with which editors check and complete them."""
    from lanhaven.config.published import published

    output.data(published(name).rstrip("\n"))


def models_path(settings: Settings) -> Path:
    """The models.yaml that a server with these settings would read."""
    from lanhaven.models_file import models_path as chosen

    return chosen(settings)


def _there(row: Row) -> str:
    return "yes" if row["exists"] else "not yet"


__all__ = ["check", "commands", "models_path", "path", "schema", "set_setting", "show"]
