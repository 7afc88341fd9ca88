"""`logs`: what the server and the engines wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from lanhaven.cli import completing, output
from lanhaven.cli.connection import Json, Key, Server, Url, connect, state_folder
from lanhaven.cli.failure import CliError, Exit

SERVER = "server"  # the name of its own log
STYLES = {"warning": "yellow", "error": "red", "critical": "bold red", "debug": "dim"}


def logs(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="A model or an instance: what its engine wrote. Left out: the server's own log.",
            autocompletion=completing.models_and_instances,
        ),
    ] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, max=2000, help="How many of the last ones.")] = 200,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="And every new one, until Ctrl-C.")] = False,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Show the last lines of the server's log, or of a model's engine. --json writes one JSON object a line."""
    source = source or SERVER
    file = state_folder() / "logs/server.log"
    with connect(url, key) as server:
        try:
            if follow:
                _follow(server, source, lines, json=json)
            found = server.get("/debug/logs", source=source, lines=str(lines))["lines"]
        except CliError as error:
            raise _last(error, file) if server.target.source in ("run file", "default") else error from None
        for line in found:
            _show(line, json=json)
        if source == SERVER and server.target.pid is not None:
            output.aside(f"all of it: {file}")


def _last(error: CliError, file: Path) -> CliError:
    """No server of this user runs: what the last one wrote may say why."""
    if error.status is not Exit.UNREACHABLE or not file.exists():
        return error
    return error.trying(f"tail {file}    (of the server that ran last)", *error.tries)


def _follow(server: Server, source: str, lines: int, *, json: bool) -> None:
    from json import loads

    with server.events("GET", f"/debug/logs/stream?{urlencode({'source': source, 'lines': lines})}") as events:
        for name, data in events:
            if name == "line":
                _show(loads(data), json=json)
    text = f"the server at {server.target.url} ended the stream"
    raise CliError(text, "lanhaven status", "lanhaven up", status=Exit.UNREACHABLE)


def _show(line: Mapping[str, Any], *, json: bool) -> None:
    if json:
        output.line(line)
        return
    level = line.get("level", "")
    begin = [(f"{line['time'][11:19]}  ", "dim"), (f"{level:8}  ", STYLES.get(level, "green"))] if level else []
    output.parts([*begin, (line["text"], "")])
