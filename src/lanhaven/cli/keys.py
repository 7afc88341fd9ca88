"""`keys`: who may use the server. Works on the key file; a running server sees the change within a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lanhaven.cli import output
from lanhaven.cli.connection import Json
from lanhaven.cli.failure import CliError, Exit
from lanhaven.cli.help_text import Command, Group, show_help
from lanhaven.cli.key_options import (
    Expires,
    LmStudio,
    Models,
    Networks,
    RequestsPerDay,
    RequestsPerMinute,
    ScopeNames,
    TokensPerDay,
    TokensPerMinute,
    read_scopes,
    read_terms,
)
from lanhaven.cli.key_table import details, table
from lanhaven.cli.units import read_seconds

if TYPE_CHECKING:
    from lanhaven.keys.store import KeyStore

Name = Annotated[str, typer.Argument(help="Name of the key: a person, a machine or an app.")]


def commands() -> typer.Typer:
    """The group."""
    group = typer.Typer(cls=Group, help="Make, list, change and revoke API keys.", rich_markup_mode=None)
    group.callback(invoke_without_command=True)(show_help)
    group.command("add", cls=Command)(add)
    group.command("ls", cls=Command)(ls)
    group.command("show", cls=Command)(show)
    group.command("set", cls=Command)(change)
    group.command("rm", cls=Command)(rm)
    group.command("rotate", cls=Command)(rotate)
    return group


def add(
    name: Name,
    admin: Annotated[bool, typer.Option("--admin", help="Good for everything, also for loading models.")] = False,
    scope: ScopeNames = None,
    models: Models = None,
    rpm: RequestsPerMinute = None,
    rpd: RequestsPerDay = None,
    tpm: TokensPerMinute = None,
    tpd: TokensPerDay = None,
    expires: Expires = None,
    network: Networks = None,
    lmstudio: LmStudio = False,
    json: Json = False,
) -> None:
    """Make a key. It is written to stdout, this once."""
    from lanhaven.keys.key import ALL_SCOPES, Terms

    scopes = ALL_SCOPES if admin else read_scopes(scope) or read_scopes(["inference"])
    terms = read_terms(Terms(), models=models, limits=(rpm, rpd, tpm, tpd), expires=expires, networks=network)
    _tell(name, _store().add(name, scopes or (), terms=terms, lmstudio=lmstudio), json=json)


def ls(json: Json = False) -> None:
    """List the keys: what they may do, and what they did; what they are is never shown again."""
    records = _records(_store())
    if json:
        output.document(records)
        return
    table(records)


def show(name: Name, json: Json = False) -> None:
    """Show all about one key but itself."""
    record = _record(name)
    if json:
        output.document(record)
        return
    details(record)


def change(
    name: Name,
    admin: Annotated[bool, typer.Option("--admin", help="Make it good for everything.")] = False,
    scope: ScopeNames = None,
    models: Models = None,
    rpm: RequestsPerMinute = None,
    rpd: RequestsPerDay = None,
    tpm: TokensPerMinute = None,
    tpd: TokensPerDay = None,
    expires: Expires = None,
    network: Networks = None,
    json: Json = False,
) -> None:
    """Change what a key may do. What is not named stays; "none" takes a bound away, 0 a limit."""
    from lanhaven.keys.key import ALL_SCOPES

    if not admin and all(each is None for each in (scope, models, rpm, rpd, tpm, tpd, expires, network)):
        raise CliError("nothing to change", "lanhaven keys set --help", status=Exit.USAGE)
    store = _store()
    known = next((each for each in store.list() if each.name == name), None)
    terms = None
    if known is not None:
        terms = read_terms(known.terms, models=models, limits=(rpm, rpd, tpm, tpd), expires=expires, networks=network)
    store.change(name, ALL_SCOPES if admin else read_scopes(scope), terms)
    if json:
        output.document(_record(name))
        return
    output.message(f"key {name} is changed")


def rm(name: Name, json: Json = False) -> None:
    """Revoke a key; requests that carry it are refused from then on."""
    _store().revoke(name)
    if json:
        output.document({"name": name, "revoked": True})
        return
    output.message(f"key {name} is worthless now")


def rotate(
    name: Name,
    grace: Annotated[
        str | None,
        typer.Option(
            "--grace", metavar="TIME", help="How long the old key stays good, e.g. 10m; not at all if not said."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Replace a key by a new one; the old one is worthless at once, or after --grace."""
    _tell(name, _store().rotate(name, read_seconds(grace) if grace is not None else 0.0), json=json)


def _tell(name: str, secret: str, *, json: bool) -> None:
    if json:
        output.document({"name": name, "key": secret})
        return
    output.message(f"key for {name}, shown this once:")
    output.data(secret)


def _records(store: KeyStore) -> list[dict[str, Any]]:
    from lanhaven.keys.showing import key_json
    from lanhaven.keys.store import seconds_now

    return [key_json(each, store.meters.used(each.name), seconds_now()) for each in store.list()]


def _record(name: str) -> dict[str, Any]:
    for record in _records(_store()):
        if record["name"] == name:
            return record
    raise CliError(f"There is no key named {name}.", "lanhaven keys ls", status=Exit.NOT_FOUND)


def _store() -> KeyStore:
    from lanhaven.config import load_settings
    from lanhaven.keys.store import KeyStore

    return KeyStore.from_settings(load_settings())
