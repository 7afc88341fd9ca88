"""`models-sync`: which models a server has, whether they are ready, kept for programs that look them up in a file."""

from __future__ import annotations

import json as json_format
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from lanhaven.cli import completing, output
from lanhaven.cli.connection import Json, Key, Server, Url, connect
from lanhaven.cli.failure import CliError, Exit
from lanhaven.cli.models import not_found
from lanhaven.cli.output import Column, Row

FILE_NAME = "models.json"
READY = "ready"


def models_sync(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Models that must be there.", autocompletion=completing.models_and_instances),
    ] = None,
    ready: Annotated[bool, typer.Option("--ready", help="They must be in memory, too (without any: one of all).")] = (
        False
    ),
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Verify the models of a server, list them, and keep the list in the cache folder."""
    with connect(url, key) as server:
        found = _listed(server)
        address = server.target.url
    record = {"url": address, "syncedAt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "models": found}
    file = _keep(record)
    if json:
        output.document({**record, "file": str(file)})
    else:
        output.rows(COLUMNS, found, empty="the server has no models; try: lanhaven get smollm2")
        output.aside(f"kept in {file}")
    _verify(found, models or (), ready=ready)


def _listed(server: Server) -> list[Row]:
    answer = server.get("/v1/models")
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, list) or not all(isinstance(each, dict) and "id" in each for each in data):
        raise CliError(f"{server.target.url} does not list models as OpenAI does", "lanhaven ping", "lanhaven doctor")
    return data


def _keep(record: dict[str, Any]) -> Path:
    """The file; GatewayError where it cannot be written."""
    from lanhaven.config.atomic import write_text
    from lanhaven.config.places import cache_dir

    file = cache_dir() / FILE_NAME
    write_text(file, json_format.dumps(record, ensure_ascii=False, indent=1) + "\n")
    return file


def _verify(found: Sequence[Row], wanted: Sequence[str], *, ready: bool) -> None:
    by_name = {str(each["id"]): each for each in found}
    for name in wanted:
        if name not in by_name:
            raise not_found(name, list(by_name))
        status = by_name[name].get("status")
        if status == "error" or (ready and status != READY):
            raise CliError(
                f"{name} is not ready: {status or 'the server does not tell its status'}",
                f"lanhaven load {name}",
                "lanhaven ls",
                status=Exit.MODEL,
            )
    if ready and not wanted and not any(each.get("status") == READY for each in found):
        raise CliError("no model is ready", "lanhaven load MODEL", "lanhaven ls", status=Exit.MODEL)


def _context(model: Row) -> object:
    return model.get("loaded_context_length") or model.get("max_context_length")


COLUMNS = (
    Column("MODEL", lambda m: m["id"]),
    Column("STATUS", lambda m: m.get("status"), lambda m: m.get("status") or "–"),
    Column("KIND", lambda m: m.get("kind"), lambda m: m.get("kind") or "–"),
    Column("OWNER", lambda m: m.get("owned_by"), lambda m: m.get("owned_by") or "–"),
    Column("CONTEXT", _context, lambda m: f"{_context(m):,}" if _context(m) else "–", right=True),
)
