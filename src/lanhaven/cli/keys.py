"""`keys`: who may use the server. Works on the key file; a running server sees the change within a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lanhaven.cli import output
from lanhaven.cli.connection import Json
from lanhaven.cli.failure import CliError, Exit
from lanhaven.cli.output import Column

if TYPE_CHECKING:
    from lanhaven.keys.store import KeyStore

Name = Annotated[str, typer.Argument(help="Name of the key: a person, a machine or an app.")]


def commands() -> typer.Typer:
    """The group."""
    group = typer.Typer(help="Make, list and revoke API keys.", rich_markup_mode=None)
    group.callback(invoke_without_command=True)(_help)
    group.command("add")(add)
    group.command("ls")(ls)
    group.command("rm")(rm)
    group.command("rotate")(rotate)
    return group


def _help(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def add(
    name: Name,
    admin: Annotated[bool, typer.Option("--admin", help="Good for everything, also for loading models.")] = False,
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="inference (the default), admin or debug; repeatable.")
    ] = None,
    lmstudio: Annotated[bool, typer.Option("--lmstudio", help="Of the form that LM Studio's clients take.")] = False,
    json: Json = False,
) -> None:
    """Make a key. It is written to stdout, this once."""
    from lanhaven.keys.store import ALL_SCOPES, KeyScope

    known = {each.value: each for each in KeyScope}
    wrong = [each for each in scope or () if each not in known]
    if wrong:
        raise CliError(f"there is no scope {wrong[0]!r}", f"--scope {' or '.join(known)}", status=Exit.USAGE)
    scopes = ALL_SCOPES if admin else frozenset(known[each] for each in scope or ("inference",))
    _tell(name, _store().add(name, scopes, lmstudio=lmstudio), json=json)


def ls(json: Json = False) -> None:
    """List the keys; what they are is never shown again."""
    records = [
        {
            "name": each.name,
            "scopes": sorted(scope.value for scope in each.scopes),
            "prefix": each.prefix,
            "created": each.created,
            "lastUsed": each.last_used,
            "source": each.source,
        }
        for each in _store().list()
    ]
    if json:
        output.document(records)
        return
    columns = (
        Column("NAME", lambda k: k["name"]),
        Column("GOOD FOR", lambda k: k["scopes"], lambda k: ", ".join(k["scopes"])),
        Column("BEGINS", lambda k: k["prefix"], lambda k: f"{k['prefix']}…" if k["prefix"] else "–"),
        Column("CREATED", lambda k: k["created"], lambda k: (k["created"] or "–")[:10]),
        Column("LAST USED", lambda k: k["lastUsed"], lambda k: (k["lastUsed"] or "never")[:10]),
        Column("FROM", lambda k: k["source"]),
    )
    output.rows(columns, records, empty="no keys: the server is open on this machine and closed to others")


def rm(name: Name) -> None:
    """Revoke a key; requests that carry it are refused from then on."""
    _store().revoke(name)
    output.message(f"key {name} is worthless now")


def rotate(name: Name, json: Json = False) -> None:
    """Replace a key by a new one; the old one is worthless at once."""
    _tell(name, _store().rotate(name), json=json)


def _tell(name: str, secret: str, *, json: bool) -> None:
    if json:
        output.document({"name": name, "key": secret})
        return
    output.message(f"key for {name}, shown this once:")
    output.data(secret)


def _store() -> KeyStore:
    from lanhaven.config import load_settings
    from lanhaven.keys.store import KeyStore

    return KeyStore.from_settings(load_settings())
