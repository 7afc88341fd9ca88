"""`ls`, `ps`, `show`: which models there are, which are in memory, and all about one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lanhaven.cli import completing, output, units
from lanhaven.cli.connection import Json, Key, Server, Url, connect
from lanhaven.cli.failure import CliError, Exit
from lanhaven.cli.output import Column, Row

if TYPE_CHECKING:
    from rich.console import RenderableType

REFRESH = 1.0  # seconds between two looks of `ps --watch`


def ls(
    provider: Annotated[
        str | None, typer.Option("--provider", metavar="NAME", help="Only those of one provider.")
    ] = None,
    loaded: Annotated[bool, typer.Option("--loaded", help="Only those in memory.")] = False,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """List the models that could run here (alias: models)."""
    with connect(url, key) as server:
        answer = server.get("/admin/models")
    in_memory = {each["path"] for each in answer["loaded"]}
    found = [each for each in answer["downloaded"] if provider in (None, each["provider"])]
    if loaded:
        found = [each for each in found if each["path"] in in_memory]
    if json:
        output.document(found)
        return
    output.rows(_list_columns(in_memory), found, empty=_nothing(answer, provider))


def _nothing(answer: Mapping[str, Any], provider: str | None) -> str:
    """Why the list is empty."""
    providers = sorted({each["provider"] for each in answer["downloaded"]})
    if not providers:
        return "no models; try: lanhaven get smollm2"
    if provider is not None and provider not in providers:
        return f"no model of the provider {provider}; there are models of {', '.join(providers)}"
    return "no such model is in memory; all there are: lanhaven ls"


def ps(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep looking, until Ctrl-C.")] = False,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """List the models in memory."""
    with connect(url, key) as server:
        if watch:
            _watch(server, json=json)
        loaded = server.get("/admin/models")["loaded"]
    if json:
        output.document(loaded)
        return
    output.rows(INSTANCES, loaded, empty="no model is in memory; the first request loads one, or: lanhaven load MODEL")


def show(
    model: Annotated[
        str, typer.Argument(help="A model, an alias, or an instance.", autocompletion=completing.models_and_instances)
    ],
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Show one model: what it can do, how it would load, whether it fits."""
    with connect(url, key) as server:
        answer = server.get("/admin/models")
        info = pick(answer, model)
        estimate = _estimate(server, info)
    instances = [each for each in answer["loaded"] if each["path"] == info["path"]]
    if json:
        output.document({"model": info, "instances": instances, "estimate": estimate})
        return
    output.pairs(_details(info, estimate))
    if instances and sys.stdout.isatty():
        output.message("\nin memory:")
        output.rows(INSTANCES, instances, empty="")


def pick(answer: Mapping[str, Any], name: str) -> Row:
    """The entry of `downloaded` that a name means: a key, an alias, or an instance's identifier. CliError 5 if none."""
    entries: list[Row] = answer["downloaded"]
    holders = [each["path"] for each in answer["loaded"] if each["identifier"] == name]
    for wanted in (name, *holders, name.removesuffix(":latest")):
        for entry in entries:
            if wanted == entry["path"] or wanted in entry["aliases"]:
                return entry
    raise not_found(name, [each["path"] for each in entries])


def not_found(name: str, known: list[str]) -> CliError:
    """No such model; names the ones that are spelled nearly so."""
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=2, cutoff=0.5)
    text = f"no model named {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else "")
    return CliError(text, "lanhaven ls", status=Exit.NOT_FOUND)


def _estimate(server: Server, info: Row) -> Row | None:
    """What loading would take; None where that cannot be said (a model that cannot run here)."""
    if not info["available"]:
        return None
    try:
        answer: Row = server.post("/admin/models/estimate", {"modelKey": info["path"]})
    except CliError as error:
        if error.status in (Exit.UNREACHABLE, Exit.UNAUTHORISED):
            raise
        return None
    return answer


def _list_columns(in_memory: set[str]) -> tuple[Column, ...]:
    def marked(entry: Row) -> str:
        return f"{entry['path']} ●" if entry["path"] in in_memory else str(entry["path"])

    return (
        Column("MODEL", lambda m: m["path"], marked, cut=True),
        Column("TYPE", lambda m: m["type"]),
        Column("PROVIDER", lambda m: m["provider"]),
        Column("SIZE", lambda m: m["size"], lambda m: _bytes(m["size"]), right=True),
        Column("CONTEXT", lambda m: m["maxContextLength"], lambda m: _count(m["maxContextLength"]), right=True),
        Column("QUANT", lambda m: m["quantization"], lambda m: m["quantization"] or "–", spare=True),
        Column("STATE", lambda m: _availability(m, in_memory), cut=True),
        Column("ALIASES", lambda m: m["aliases"], lambda m: ", ".join(m["aliases"]), cut=True, spare=True),
    )


INSTANCES = (
    Column("MODEL", lambda m: m["path"], lambda m: f"{m['path']} ●" if m["active"] else m["path"], cut=True),
    Column("INSTANCE", lambda m: m["identifier"], cut=True),
    Column("PROVIDER", lambda m: m["provider"], spare=True),
    Column("STATE", lambda m: m["state"], lambda m: _state(m), cut=True),
    Column("MEMORY", lambda m: m["sizeBytes"], lambda m: _bytes(m["sizeBytes"]), right=True),
    Column("CONTEXT", lambda m: m["contextLength"], lambda m: _count(m["contextLength"]), right=True),
    Column("BUSY", lambda m: m["busy"], lambda m: _busy(m), right=True),
    Column("WAITING", lambda m: m["waiting"], right=True, spare=True),
    Column("UNTIL", lambda m: m["expiresInSeconds"], lambda m: _until(m)),
)


def _availability(entry: Row, in_memory: set[str]) -> str:
    if not entry["available"]:
        return f"unavailable: {entry['unavailableReason']}"
    return "loaded" if entry["path"] in in_memory else "ready to load"


def _state(entry: Row) -> str:
    if entry["state"] == "loading" and entry["progress"] is not None:
        return f"loading {entry['progress']:.0%}"
    if entry["state"] == "failed" and entry["error"]:
        return f"failed: {entry['error']}"
    return f"{entry['state']}, reload needed" if entry.get("reloadNeeded") else str(entry["state"])


def _until(entry: Row) -> str:
    if entry["pinned"]:
        return "pinned"
    if entry["expiresInSeconds"] is None:
        return "in use" if entry["busy"] else "no limit"
    return units.seconds(entry["expiresInSeconds"])


def _busy(entry: Row) -> str:
    return f"{entry['busy']}/{entry['slots']}" if entry["slots"] else str(entry["busy"])


def _bytes(count: int) -> str:
    return units.size(count) if count else "–"


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _details(info: Row, estimate: Row | None) -> list[tuple[str, object]]:
    described = [
        ("model", info["path"] + ("  (the default)" if info["default"] else "")),
        ("description", info["description"] or None),
        ("aliases", ", ".join(info["aliases"]) or None),
        ("type", info["type"]),
        ("provider", info["provider"]),
        ("format", " ".join(each for each in (info["format"], info["quantization"]) if each) or None),
        ("architecture", info["architecture"]),
        ("layers", info["layers"]),
        ("size", units.size(info["size"]) if info["size"] else None),
        ("longest context", _count(info["maxContextLength"]) if info["maxContextLength"] else None),
        ("capabilities", ", ".join(info["capabilities"]) or None),
    ]
    if not info["available"]:
        return [*described, ("cannot run", info["unavailableReason"])]
    return [*described, *(fit(estimate) if estimate else ())]


def fit(estimate: Row) -> list[tuple[str, object]]:
    """The memory estimate as lines."""
    context, most = estimate["contextLength"], estimate["largestContextLength"]
    evictable = estimate["evictableBytes"]
    return [
        ("context", _count(context) if context else None),
        ("slots", estimate["slots"]),
        ("memory needed", _needed(estimate)),
        ("computed as", _added_up(estimate["parts"]) if estimate["parts"] else None),
        ("memory free", units.size(estimate["availableBytes"])),
        ("can be freed", units.size(evictable) if evictable else None),
        ("fits", _verdict(estimate)),
        ("longest that fits", _count(most) if most else None),
    ]


def _needed(estimate: Row) -> str:
    needed = units.size(estimate["neededBytes"])
    if not estimate["neededBytes"]:
        return "none of the server's machine, or nobody knows"
    return f"{needed}, as the last load took" if estimate["learnt"] else f"about {needed}"


_PARTS = (
    ("weights", "weights"),
    ("projector", "projector"),
    ("kv", "KV cache"),
    ("compute", "compute"),
    ("promptCache", "prompt cache"),
    ("engine", "engine"),
)


def _added_up(parts: Row) -> str:
    return " + ".join(f"{label} {units.size(parts[name])}" for name, label in _PARTS if parts[name])


def _verdict(estimate: Row) -> str:
    if estimate["fits"]:
        context = ", with the context that it takes" if estimate["ignored"] else ""
        return f"yes{context}" if estimate["verdict"] == "fits" else f"yes{context}, when others have left"
    shorter = estimate["suggestedContextLength"]
    return f"no; --context {shorter} would" if shorter else "no"


def _watch(server: Server, *, json: bool) -> None:
    """Look again and again; ends by Ctrl-C only."""
    import time

    if json:
        while True:
            output.line(server.get("/admin/models")["loaded"])
            time.sleep(REFRESH)
    if not sys.stdout.isatty():
        raise CliError("--watch draws on a terminal", "lanhaven ps --watch --json (in a pipe)", status=Exit.USAGE)
    from rich.live import Live

    def picture() -> RenderableType:
        loaded = server.get("/admin/models")["loaded"]
        return output.table(INSTANCES, loaded) if loaded else "no model is in memory"

    with Live(picture(), console=output.console(), auto_refresh=False) as live:
        while True:
            time.sleep(REFRESH)
            live.update(picture(), refresh=True)
