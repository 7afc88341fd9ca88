"""`embed`: texts as vectors."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from lanhaven.cli import completing, output
from lanhaven.cli.connection import Json, Key, Server, Url, connect
from lanhaven.cli.failure import CliError, Exit
from lanhaven.cli.output import Column

SHOWN = 4  # numbers at the beginning of a vector


def embed(
    text: Annotated[
        list[str] | None, typer.Argument(help="A vector for each; else a pipe is read as one text.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="Else an embedding model: one in memory, else the first of the list.",
            autocompletion=completing.models_and_instances,
        ),
    ] = None,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Turn texts into vectors. --json writes them whole, else how long they are and how they begin."""
    texts = text or _piped()
    if not texts or not all(each.strip() for each in texts):
        raise CliError("there is no text to embed", 'lanhaven embed "The sea is calm."', status=Exit.USAGE)
    with connect(url, key) as server:
        body = {"model": model or _embedding_model(server), "input": texts, "encoding_format": "float"}
        reply = server.post("/v1/embeddings", body, timeout=None)
    if json:
        output.document(reply)
        return
    output.rows(
        COLUMNS, [{"text": texts[each["index"]], "vector": each["embedding"]} for each in reply["data"]], empty=""
    )
    output.aside(f"{reply['model']} · {reply['usage']['prompt_tokens']} tokens")


def _piped() -> list[str]:
    if sys.stdin is None or sys.stdin.isatty():
        return []
    return [sys.stdin.read()]


def _embedding_model(server: Server) -> str:
    """Asked of the list that every key may see. CliError if there is none."""
    known = [each for each in server.get("/v1/models")["data"] if each.get("kind") == "embedding"]
    known = [each for each in known if each["status"] != "error"]
    if not known:
        raise CliError("there is no embedding model", "lanhaven get minilm", "lanhaven ls", status=Exit.NOT_FOUND)
    return str(next((each for each in known if each["status"] == "ready"), known[0])["id"])


def _beginning(vector: Sequence[float]) -> list[Any]:
    return [round(number, 4) for number in vector[:SHOWN]]


COLUMNS = (
    Column("TEXT", lambda r: r["text"], cut=True),
    Column("DIMENSIONS", lambda r: len(r["vector"]), lambda r: f"{len(r['vector']):,}", right=True),
    Column(
        "BEGINS",
        lambda r: _beginning(r["vector"]),
        lambda r: "  ".join(f"{number:+.4f}" for number in r["vector"][:SHOWN]) + " …",
    ),
)
