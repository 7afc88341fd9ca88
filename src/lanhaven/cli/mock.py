"""`mock`: a stand-in for LM Studio, with scripted models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lanhaven.cli import output, units, watch
from lanhaven.cli.failure import CliError, Exit

if TYPE_CHECKING:
    from lanhaven.testing import MockModel
    from lanhaven.testing.command import MockInfo

KINDS = ("llm", "vlm", "embedding", "reranker")


def mock(
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Port to listen on (default 1235, or the next free).")
    ] = None,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on; others than loopback need --key.")
    ] = ("127.0.0.1"),
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--models", metavar="NAME[=KIND]", help="A model; KIND is llm, vlm, embedding or reranker; repeatable."
        ),
    ] = None,
    script: Annotated[
        Path | None, typer.Option("--script", metavar="FILE", help="YAML or JSON: models, and what they shall answer.")
    ] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="KEY", help="API key that clients must send.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not tell what clients do.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Tell the address and what clients do as JSON lines.")] = False,
) -> None:
    """Serve scripted models as LM Studio would, for tests of its clients. Ctrl-C stops it."""
    chosen = [_model(each) for text in models or () for each in text.split(",") if each]
    from lanhaven.testing.command import run

    def ready(info: MockInfo) -> None:
        if json:
            output.line({"event": "ready", "url": info.url, "models": info.models, "replies": info.replies})
        else:
            _banner(info)

    def happened(name: str, event: Mapping[str, Any]) -> None:
        if not quiet:
            watch.show(name, event, json=json)

    def stopping() -> None:
        output.note("stopping")

    run(chosen, script, ready, happened, stopping, host=host, port=port, api_key=key)


def _model(text: str) -> MockModel:
    from lanhaven.testing import MockModel

    name, equals, kind = text.partition("=")
    if not name or (equals and kind not in KINDS):
        raise CliError(
            f"--models {text}: a name is meant, or NAME=KIND with one of {', '.join(KINDS)}",
            "lanhaven mock --models qwen3-4b --models nomic=embedding",
            status=Exit.USAGE,
        )
    return MockModel(name, kind=kind) if equals else MockModel(name)


def _banner(info: MockInfo) -> None:
    from lanhaven.testing.command import DEFAULT_PORT

    if info.moved:
        output.note(f"port {DEFAULT_PORT} is taken by another program: listening on {info.url}")
    replies = f" · {info.replies} scripted {'reply' if info.replies == 1 else 'replies'}" if info.replies else ""
    output.banner([("  LM Studio  ", "dim"), (info.url, "cyan"), ("  (a mock: no model runs)", "dim")])
    output.banner([("  OpenAI     ", "dim"), (f"{info.url}/v1", "cyan")])
    output.banner([("  models     ", "dim"), (", ".join(info.models), "")])
    output.banner([(f"  ready in {units.seconds(info.seconds)}{replies} · Ctrl-C stops", "")])
