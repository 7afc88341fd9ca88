"""`history`: the requests that were. `inspect`: one of them, and where its time went."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote, urlencode

import typer

from lanhaven.cli import completing, output
from lanhaven.cli.connection import Json, Key, Server, Url, connect
from lanhaven.cli.failure import CliError, Exit
from lanhaven.cli.output import Column, Row
from lanhaven.cli.units import here
from lanhaven.cli.usage import milliseconds

Status = Literal["pending", "completed", "failed", "cancelled"]
BAR = 40  # signs


def _figure(heading: str, name: str) -> Column:
    def text(row: Row) -> str:
        return "–" if row.get(name) is None else f"{row[name]:,}"

    return Column(heading, lambda row: row.get(name), text, right=True, spare=True)


ROWS = (
    Column("TIME", lambda row: row["timestamp"], lambda row: here(row["timestamp"])[5:]),
    Column("STATUS", lambda row: row["status"]),
    Column("MODEL", lambda row: row["model"], cut=True),
    Column("KEY", lambda row: row.get("key"), lambda row: row.get("key", "–"), cut=True, spare=True),
    Column("TOOK", lambda row: row.get("timeMs"), milliseconds("timeMs"), right=True),
    Column("FIRST TOKEN", lambda row: row.get("firstTokenMs"), milliseconds("firstTokenMs"), right=True, spare=True),
    _figure("TOKENS", "completionTokens"),
    _figure("TOKENS/S", "tokensPerSecond"),
    Column("REQUEST", lambda row: row["requestId"]),
    Column("ERROR", lambda row: row.get("error"), lambda row: row.get("error", ""), cut=True),
)


def history(
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="How many.")] = 50,
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="Of this model.", autocompletion=completing.models)
    ] = None,
    key_name: Annotated[str | None, typer.Option("--key-name", metavar="NAME", help="Of the key of this name.")] = None,
    status: Annotated[Status | None, typer.Option("--status", help="Those that ended so.")] = None,
    text: Annotated[str | None, typer.Option("--find", metavar="TEXT", help="Text in a name or in the error.")] = None,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """List the last requests, newest first."""
    said = {"limit": count, "model": model, "key": key_name, "status": status, "q": text}
    query = urlencode({name: value for name, value in said.items() if value is not None})
    with connect(url, key) as server:
        answer = server.get(f"/debug/history/requests?{query}")
    rows = answer["requests"][:count]
    if json:
        output.document(answer | {"requests": rows})
        return
    chosen = any(each is not None for each in (model, key_name, status, text))
    output.rows(ROWS, rows, empty="no such requests" if chosen else "no requests yet")


def inspect(
    request_id: Annotated[
        str | None, typer.Argument(help="As X-Request-Id of its reply says. Left out: the last request.")
    ] = None,
    body: Annotated[bool, typer.Option("--body", help="What was asked and answered, where that is kept.")] = False,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Show one request: where its time went, with which parameters, and how it ended."""
    with connect(url, key) as server:
        place = f"/debug/requests/{quote(request_id or _last(server), safe='')}"
        found = _found(server, place)
        texts = server.get(f"{place}/body") if body else {}
    if json:
        output.document(found | ({"texts": texts} if body else {}))
        return
    output.pairs(_details(found))
    for phase in found["phases"]:
        output.data(_phase(phase, found["timeMs"]))
    for name in ("request", "response") if body else ():
        output.data(f"\n{name}{' (cut)' if texts['truncated'] else ''}:\n{texts[name]}")


def _found(server: Server, place: str) -> Any:
    try:
        return server.get(place)
    except CliError as error:
        if error.status is not Exit.NOT_FOUND:
            raise
        raise error.trying("lanhaven history", *error.tries) from None


def _last(server: Server) -> str:
    rows = server.get("/debug/history/requests?limit=1")["requests"]
    if not rows:
        raise CliError("there was no request yet", 'lanhaven chat -p "Say hello."', status=Exit.NOT_FOUND)
    return str(rows[0]["requestId"])


def _details(found: Row) -> list[tuple[str, object]]:
    parameters = " ".join(f"{name}={output.cell(value)}" for name, value in found["parameters"].items())
    return [
        ("request", found["requestId"]),
        ("when", found["timestamp"]),
        ("status", found["status"]),
        ("path", f"{found['path']} ({found['dialect']})"),
        ("model", found["model"]),
        ("instance", found.get("instance")),
        ("key", found.get("key")),
        ("client", _joined(found.get("address"), found.get("userAgent"))),
        ("parameters", parameters or None),
        ("prompt tokens", found.get("promptTokens")),
        ("answer tokens", found.get("completionTokens")),
        ("tokens/s", found.get("tokensPerSecond")),
        ("finish reason", found.get("finishReason")),
        ("error", _joined(found.get("error"), found.get("code"))),
        ("took", milliseconds("timeMs")(found) if "timeMs" in found else None),
        ("body", found["body"]),
    ]


def _phase(phase: Row, whole: int) -> str:
    """queue     ████                  310 ms: how long it was, and where in the whole."""
    begin = round(BAR * phase["startMs"] / max(1, whole))
    length = max(1, round(BAR * phase["ms"] / max(1, whole)))
    bar = (" " * begin + "█" * length)[:BAR]
    return f"{phase['name']:<10}{bar:<{BAR}}  {milliseconds('ms')(phase)}"


def _joined(*words: Any) -> str | None:
    return ", ".join(str(each) for each in words if each) or None
