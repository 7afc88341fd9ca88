"""`connect`: an app connected to this server: its settings shown, written or used, and tried out."""

from __future__ import annotations

import shutil
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated

import typer

from lanhaven.cli import completing, output
from lanhaven.cli.connection import Json, Url
from lanhaven.cli.failure import CliError, Exit
from lanhaven.cli.output import Column

if TYPE_CHECKING:
    from lanhaven.connect.recipe import Recipe


def _apps(incomplete: str) -> list[str]:
    from lanhaven.connect.table import RECIPES

    return [each.id for each in RECIPES if each.id.startswith(incomplete)]


Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", metavar="MODEL", help="The model (else the active one).", autocompletion=completing.models
    ),
]


def connect(
    app: Annotated[
        str | None, typer.Argument(help="An app of the list; none shows the list.", autocompletion=_apps)
    ] = None,
    arguments: Annotated[list[str] | None, typer.Argument(metavar="ARGS", help="For --run: what the app gets.")] = None,
    show: Annotated[bool, typer.Option("--print", help="Show the settings (the default).")] = False,
    write: Annotated[bool, typer.Option("--write", help="Put them where the app reads them; asks first.")] = False,
    run: Annotated[bool, typer.Option("--run", help="Start the app with them; nothing is written.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take back what --write did.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    model: Model = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="NAME|KEY", help="The app's key, or the name of one to make.")
    ] = None,
    test: Annotated[bool, typer.Option("--test/--no-test", help="Ask the server what the app would ask.")] = True,
    url: Url = None,
    json: Json = False,
) -> None:
    """Connect an app: Claude Code, VS Code, Open WebUI, a library ... Without APP: the list of them."""
    if sum((show, write, run, undo)) > 1:
        raise CliError("--print, --write, --run and --undo exclude each other", "one of them", status=Exit.USAGE)
    if arguments and not run:
        raise CliError(
            f"{arguments[0]!r} is for the app, and only --run starts it",
            f"lanhaven connect {app} --run",
            status=Exit.USAGE,
        )
    if app is None:
        _list(json=json)
        return
    from lanhaven.cli import connect_asking as asking
    from lanhaven.cli import connect_doing as doing

    recipe = _recipe(app)
    if undo:
        doing.undo(recipe)
        return
    with asking.server(url, key) as server:
        place = asking.place(server, model)
        if json:
            doing.describe(recipe, place)
            return
        if write:
            doing.to_write(recipe, place)
        if run:
            doing.to_run(recipe, place)
        connected = asking.keyed(server, recipe, place, key)
        if not write and not run:
            doing.show(recipe, connected)
        asking.warn(recipe, connected)
        if test or not connected.known:
            asking.test(recipe, connected)
    if write:
        doing.write(recipe, connected.place, yes=yes)
    if run:
        doing.run(recipe, connected.place, arguments or [])


def _list(*, json: bool) -> None:
    from lanhaven.connect.fitness import needs
    from lanhaven.connect.table import RECIPES

    records = [
        {
            "id": each.id,
            "name": each.name,
            "about": each.about,
            "kind": each.kind.value,
            "dialect": each.dialect,
            "needs": needs(each),
            "installed": any(shutil.which(program) for program in each.programs) if each.programs else None,
        }
        for each in RECIPES
    ]
    if json:
        output.document(records)
        return
    columns = (
        Column("APP", lambda r: r["id"]),
        Column("HERE", lambda r: r["installed"], lambda r: "yes" if r["installed"] else ""),
        Column("WHAT", lambda r: r["about"]),
    )
    output.rows(columns, records, empty="")
    output.aside("  Try  lanhaven connect APP")


def _recipe(app: str) -> Recipe:
    from lanhaven.connect.table import RECIPES, find

    recipe = find(app)
    if recipe is not None:
        return recipe
    near = get_close_matches(app.lower(), [each.id for each in RECIPES], n=3, cutoff=0.5)
    tries = [f"lanhaven connect {each}" for each in near] or ["lanhaven connect"]
    raise CliError(
        f"there is no recipe for {app!r}",
        *tries,
        "any app with a base URL: lanhaven connect curl",
        status=Exit.NOT_FOUND,
    )
