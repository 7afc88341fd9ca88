"""`add`, `set`, `rm`: entries of models.yaml, with its comments kept. A server that runs sees the change by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lanhaven.cli import completing, output
from lanhaven.cli.connection import Json
from lanhaven.cli.failure import CliError, Exit

if TYPE_CHECKING:
    from lanhaven.models_file import Editor

Model = Annotated[str, typer.Argument(help="Its id in models.yaml.", autocompletion=completing.models)]
Assignments = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="temperature=0.2 ttl=30m aliases=a,b config.model_path=~/m.gguf"),
]
Default = Annotated[bool, typer.Option("--default", help="Requests that name no model mean this one.")]


def add(
    name: Annotated[str, typer.Argument(metavar="ID", help="The name that clients will use.")],
    provider: Annotated[str, typer.Option("--provider", metavar="NAME", help="Who runs it: llama_cpp, openai, ...")],
    values: Assignments = None,
    default: Default = False,
    json: Json = False,
) -> None:
    """Add a model to models.yaml (files that are there already: lanhaven import)."""
    from lanhaven.models_file import assigned

    _check(provider)
    entry = {"id": name, "provider": provider, **assigned(values or ())}

    def change(models: Editor) -> None:
        models.add(entry)
        if default:
            models.set_default_model(name)

    _edit(change, name, "added", json=json)


def set_fields(model: Model, values: Assignments = None, default: Default = False, json: Json = False) -> None:
    """Change a model's entry in models.yaml; KEY= removes a field."""
    from lanhaven.models_file import assigned

    changes = assigned(values or ())
    if changes.get("provider"):
        _check(str(changes["provider"]))

    def change(models: Editor) -> None:
        models.update(model, changes)
        if default:
            models.set_default_model(model)

    _edit(change, model, "changed", json=json)


def rm(model: Model, json: Json = False) -> None:
    """Remove a model from models.yaml; its files stay."""
    _edit(lambda models: models.remove(model), model, "removed", json=json)


def _check(provider: str) -> None:
    """CliError if there is no such provider: the entry would be right, and its model never run."""
    from lanhaven.providers.registry import provider_names

    names = provider_names()
    if provider not in names:
        text = f"there is no provider {provider!r}; there are {', '.join(names)}"
        raise CliError(text, "docs/providers.md says which one is for what", status=Exit.USAGE)


def _edit(change: Callable[[Editor], None], model: str, done: str, *, json: bool) -> None:
    from lanhaven.config import load_settings
    from lanhaven.models_file import apply, models_path

    path: Path = models_path(load_settings())
    apply(path, change)
    if json:
        output.document({"status": done, "model": model, "modelsFile": str(path)})
    else:
        output.message(f"{model} {done} in {path}")
