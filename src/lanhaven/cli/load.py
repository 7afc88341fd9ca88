"""`load`, `unload`, `activate`: what is in memory, and which of it answers by default."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from lanhaven.cli import completing, output, units
from lanhaven.cli.connection import Json, Key, Server, Url, connect
from lanhaven.cli.failure import CliError, Exit
from lanhaven.cli.models import fit, not_found

Model = Annotated[
    str, typer.Argument(help="A model or an alias, as `lanhaven ls` shows it.", autocompletion=completing.models)
]
Loaded = Annotated[
    str | None,
    typer.Argument(help="A model (all its copies) or one instance.", autocompletion=completing.models_and_instances),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="An inference default, e.g. temperature=0.2; repeatable."),
]


# The server did not try: nothing is wrong with the model.
_REFUSED = frozenset({"invalid_request", "rate_limit_exceeded", "server_shutdown"})


def load(
    model: Model,
    instance: Annotated[str | None, typer.Option("--as", metavar="ID", help="Name of this copy.")] = None,
    context: Annotated[
        int | None,
        typer.Option("--context-length", "--context", "-c", metavar="TOKENS", min=1, help="Tokens a request may have."),
    ] = None,
    gpu: Annotated[
        str | None, typer.Option("--gpu", metavar="SHARE", help="max, off, a share (0.5) or a number of layers (24).")
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", metavar="N", min=1, help="CPU threads.")] = None,
    slots: Annotated[int | None, typer.Option("--slots", metavar="N", min=1, help="Requests computed at once.")] = None,
    ttl: Annotated[
        str | None, typer.Option("--ttl", metavar="TIME", help="Unload after this time idle: 30m, 1h30m, never.")
    ] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Only tell what it would take; load nothing.")] = False,
    no_activate: Annotated[bool, typer.Option("--no-activate", help="Leave the active model as it is.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Load though it does not seem to fit.")] = False,
    settings: Set = None,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Load a model and wait until it is ready. Ctrl-C stops the load on the server too.

    In a pipe the instance's identifier is written to stdout.
    """
    offload = units.read_gpu(gpu) if gpu else None
    config = {"contextLength": context, "gpu": offload, "cpuThreads": threads, "slots": slots}
    body: dict[str, Any] = {
        "modelKey": model,
        "instanceId": instance,
        "loadConfig": _said(config),
        "ttlSeconds": units.read_seconds(ttl) if ttl else None,
        "defaultInference": units.read_sampling(settings) or None,
        "activate": not no_activate,
        "force": force or None,
    }
    with connect(url, key) as server:
        if estimate:
            _show_estimate(_asked(server, "/admin/models/estimate", _said(body)), json=json)
            return
        reply = bring(server, _said(body))
    _report(reply, json=json)


def unload(
    model: Loaded = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything in memory.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Do not wait for requests under way: end them.")] = False,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Unload a model. Requests under way may finish first, unless --force."""
    if (model is None) is not everything:
        raise CliError("name a model, or give --all", "lanhaven ps", "lanhaven unload --all", status=Exit.USAGE)
    with connect(url, key) as server:
        loaded = server.get("/admin/models")["loaded"]
        targets = _all(loaded) if model is None else [_target(loaded, model)]
        replies = [_asked(server, "/admin/models/unload", target | {"force": force}) for target in targets]
    if json:
        output.document(replies)
        return
    if not replies:
        output.message("nothing is in memory")
    for reply in replies:
        took = units.seconds(reply["totalTimeMs"] / 1000)
        output.message(f"{_instance_name(reply)} unloaded in {took}")


def activate(
    model: Model,
    instance: Annotated[str | None, typer.Option("--as", metavar="ID", help="Which copy of it.")] = None,
    settings: Set = None,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Let a loaded model answer the requests that name none. --set changes single defaults and keeps the others."""
    sampling = units.read_sampling(settings) or None
    with connect(url, key) as server:
        loaded = server.get("/admin/models")["loaded"]
        target = _target(loaded, model) | ({"instanceId": instance} if instance else {})
        body = target | _said({"defaultInference": sampling, "merge": True if sampling else None})
        try:
            reply = server.post("/admin/models/activate", body)
        except CliError as error:
            if error.status is not Exit.NOT_FOUND:
                raise
            known = server.get("/admin/models")["downloaded"]
            if all(model != each["path"] and model not in each["aliases"] for each in known):
                raise not_found(model, [each["path"] for each in known]) from None
            raise CliError(
                f"{model} is not in memory", f"lanhaven load {model}", "lanhaven ps", status=Exit.NOT_FOUND
            ) from None
    if json:
        output.document(reply)
        return
    defaults = ", ".join(
        f"{name}={value}" for name, value in (reply["defaultInference"] or {}).items() if value is not None
    )
    output.message(f"{_instance_name(reply)} is active" + (f" ({defaults})" if defaults else ""))


def bring(server: Server, body: Mapping[str, Any]) -> Any:
    """The load itself: no time limit of ours, and when we leave, the connection closes and the server stops loading."""
    from lanhaven.cli.progress import load_progress

    model = body["modelKey"]
    try:
        with load_progress(server, model, body.get("instanceId")):
            return server.post("/admin/models/load", body, timeout=None)
    except KeyboardInterrupt:
        output.message(f"stopped: {model} is not loaded")
        raise
    except CliError as error:
        raise _load_failure(server, body, error) from None


def _load_failure(server: Server, body: Mapping[str, Any], error: CliError) -> CliError:
    model = str(body["modelKey"])
    match error.status:
        case Exit.NOT_FOUND:
            return not_found(model, [each["path"] for each in server.get("/admin/models")["downloaded"]])
        case Exit.MODEL if error.code == "insufficient_memory":
            return _does_not_fit(server, body, error)
        case Exit.FAILED if error.reply.get("code") == "instance_conflict":
            taken = body.get("instanceId") or model
            return error.trying(f"lanhaven load {model} --as {taken}-2", f"lanhaven unload {taken}")
        case Exit.FAILED if error.code not in _REFUSED:
            return CliError(error.message, *error.tries, status=Exit.MODEL, code=error.code, reply=error.reply)
        case _:
            return error


def _does_not_fit(server: Server, body: Mapping[str, Any], error: CliError) -> CliError:
    """What is missing, and the ways out: a shorter context, unloading an idle model that is large enough."""
    model = str(body["modelKey"])
    needed, free = error.reply.get("neededBytes"), error.reply.get("availableBytes")
    text = error.message
    if isinstance(needed, int) and isinstance(free, int):
        text = f"{model} does not fit: needs about {units.size(needed)}, {units.size(free)} are free"
    context = error.reply.get("largestContext")
    tries = [f"lanhaven load {model} --context {context}"] if context else []
    try:
        loaded = server.get("/admin/models")["loaded"]
    except CliError:
        loaded = []
    missing = needed - free if isinstance(needed, int) and isinstance(free, int) else 0
    idle = [each for each in loaded if not each["busy"] and each["sizeBytes"] >= max(missing, 1)]
    if idle:
        least = min(idle, key=lambda entry: int(entry["sizeBytes"]))
        tries.append(f"lanhaven unload {least['identifier']}    (frees {units.size(least['sizeBytes'])})")
    return CliError(text, *(tries or error.tries), status=Exit.MODEL, code=error.code, reply=error.reply)


def _report(reply: Mapping[str, Any], *, json: bool) -> None:
    if json:
        output.document(reply)
        return
    facts = [units.size(reply["sizeBytes"])] if reply.get("sizeBytes") else []
    if reply.get("loadConfig", {}).get("contextLength"):
        facts.append(f"context {reply['loadConfig']['contextLength']:,}")
    how = "was loaded already" if reply.get("reused") else f"loaded in {units.seconds(reply['totalTimeMs'] / 1000)}"
    active = ", active" if reply.get("activated") else ""
    output.message(f"{_instance_name(reply)} {how}{active}" + (f" ({', '.join(facts)})" if facts else ""))
    for each in reply.get("ignored", ()):
        output.note(f"{each['key']} was ignored: {each['reason']}")
    if not sys.stdout.isatty():
        output.data(str(reply["instanceId"] or reply["modelKey"]))


def _show_estimate(estimate: Mapping[str, Any], *, json: bool) -> None:
    if json:
        output.document(estimate)
    else:
        output.pairs([("model", estimate["modelKey"]), *fit(estimate)])
    for each in estimate["ignored"]:
        output.note(f"{each['key']} is ignored: {each['reason']}")
    if not estimate["fits"]:
        raise typer.Exit(Exit.MODEL)


def _asked(server: Server, path: str, body: Mapping[str, Any]) -> Any:
    """A POST that may take its time; an unknown model is told with those that are spelled alike."""
    try:
        return server.post(path, body, timeout=None)
    except CliError as error:
        if error.status is not Exit.NOT_FOUND:
            raise
        name, known = str(body["modelKey"]), [each["path"] for each in server.get("/admin/models")["downloaded"]]
        if name in known:
            raise CliError(f"{name} is not in memory", "lanhaven ps", status=Exit.NOT_FOUND) from None
        raise not_found(name, known).trying("lanhaven ps", "lanhaven ls") from None


def _target(loaded: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """A name as the admin API wants it: an instance's identifier that is no model key names that copy only."""
    if any(each["path"] == name for each in loaded):
        return {"modelKey": name}
    for each in loaded:
        if each["identifier"] == name:
            return {"modelKey": each["path"], "instanceId": name}
    return {"modelKey": name}


def _all(loaded: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"modelKey": each["path"], "instanceId": each["identifier"]} for each in loaded]


def _instance_name(reply: Mapping[str, Any]) -> str:
    instance = reply.get("instanceId")
    return str(reply["modelKey"]) if instance in (None, reply["modelKey"]) else f"{reply['modelKey']} ({instance})"


def _said(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
