"""`logs`: what the server and the engines wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from lanhaven.cli import completing, output
from lanhaven.cli.connection import Json, Key, Server, Url, connect
from lanhaven.cli.failure import CliError, Exit

STYLES = {"warning": "yellow", "error": "red", "critical": "bold red", "debug": "dim"}


def logs(
    source: Annotated[
        str,
        typer.Argument(
            metavar="[MODEL]",
            help="A model or an instance: what its engine wrote. Left out: the server's own log.",
            autocompletion=completing.models_and_instances,
        ),
    ] = "server",
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, max=2000, help="How many of the last ones.")] = 200,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="And every new one, until Ctrl-C.")] = False,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Show the last lines of the server's log, or of a model's engine. --json writes one JSON object a line."""
    with connect(url, key) as server:
        if follow:
            _follow(server, source, lines, json=json)
        for line in server.get("/debug/logs", source=source, lines=str(lines))["lines"]:
            _show(line, json=json)


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
