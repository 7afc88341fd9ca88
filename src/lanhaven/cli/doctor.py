"""`doctor`: what of this machine, the settings and the server is in order, and what to do about the rest."""

from __future__ import annotations

from typing import Annotated

import typer

from lanhaven.cli import output
from lanhaven.cli.connection import Json, Key, Url
from lanhaven.cli.failure import Exit


def doctor(
    url: Url = None,
    key: Key = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only what is not in order.")] = False,
    json: Json = False,
) -> None:
    """Check machine, settings, models and server. Ends with 1 if something does not work."""
    from lanhaven.cli import checks_machine, checks_setup

    found = [*checks_machine.all_checks(), *checks_setup.all_checks(url, key)]
    failed = any(each.level == "fail" for each in found)
    shown = [each for each in found if not quiet or each.level != "ok"]
    if json:
        output.document([each.record() for each in shown])
    else:
        for each in shown:
            each.show()
        output.message(_summary(len(found), sum(each.level == "fail" for each in found)))
    if failed:
        raise typer.Exit(Exit.FAILED)


def _summary(count: int, failed: int) -> str:
    return f"{count} checks, {failed} failed" if failed else f"{count} checks, nothing failed"
