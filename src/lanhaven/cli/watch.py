"""`watch`: everything that happens on the server, live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from lanhaven.cli import output, units
from lanhaven.cli.connection import Json, Key, Url, connect
from lanhaven.cli.failure import CliError, Exit

STYLES = {
    "error": "bold red",
    "dropped": "yellow",
    "shutdown": "yellow",
    "inference_start": "cyan",
    "inference_queued": "yellow",
    "inference_complete": "green",
    "model_activate": "magenta",
}
# All that a server sends: docs/events.md. A test holds it against the events themselves.
TYPES = (
    *("connected", "shutdown", "dropped", "error", "catalog_changed"),
    *("model_load_start", "model_load_progress", "model_load_complete"),
    *("model_unload_start", "model_unload_complete", "model_activate"),
    *("inference_start", "inference_queued", "inference_complete"),
    *("lmstudio_log", "lmstudio_chat_start", "lmstudio_sampling_params", "lmstudio_token_info", "lmstudio_cache_stats"),
    *("lmstudio_processing_start", "lmstudio_prompt_progress", "lmstudio_month_transition"),
)
# Told in words of their own, or of no use to a person.
_QUIET = frozenset(
    {"timestamp", "automatic", "activated", "loadConfig", "defaultInference", "progressRaw", "method", "parameters"}
)


def watch(
    types: Annotated[
        list[str] | None,
        typer.Option("--type", "-t", metavar="TYPE", help="Only these: load, inference, error, ...; repeatable."),
    ] = None,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Follow what happens on the server, until Ctrl-C. --json writes one JSON object a line."""
    wanted = _wanted(types or ())
    with connect(url, key) as server:
        with server.events("GET", "/debug/stream") as events:
            for name, data in events:
                if wanted and not _matches(name, wanted):
                    continue
                show(name, _decoded(data), json=json)
        text = f"the server at {server.target.url} ended the stream"
        raise CliError(text, "lanhaven status", "lanhaven up", status=Exit.UNREACHABLE)


def _wanted(types: Sequence[str]) -> set[str]:
    """The words asked for. CliError for one that no event has: nothing would ever be shown."""
    words = {word.strip() for each in types for word in each.split(",") if word.strip()}
    for word in sorted(words):
        if not any(_matches(name, {word}) for name in TYPES):
            steps = ("--type load,inference,error: words of their names", f"the types: {', '.join(TYPES)}")
            raise CliError(f"there is no type of event {word!r}", *steps, status=Exit.USAGE)
    return words


def _matches(name: str, wanted: set[str]) -> bool:
    """Whether an event is asked for: by its whole name, or by a word of it ("load" is model_load_start, ...)."""
    return name in wanted or not wanted.isdisjoint(name.split("_"))


def _decoded(data: str) -> Mapping[str, Any]:
    import json

    try:
        value = json.loads(data)
    except ValueError:
        return {"data": data}
    return value if isinstance(value, dict) else {"data": value}


def show(name: str, event: Mapping[str, Any], *, json: bool) -> None:
    """One event, as a line."""
    if json:
        output.line({"event": name, **event})
        return
    time = str(event.get("timestamp", ""))[11:23]
    output.parts([(f"{time:12}  ", "dim"), (f"{name:21}  ", STYLES.get(name, "blue")), (_describe(event), "")])


def _describe(event: Mapping[str, Any]) -> str:
    words = [_field(name, value) for name, value in event.items() if name not in _QUIET and value not in (None, "", {})]
    return "  ".join(words)


def _field(name: str, value: Any) -> str:
    if name.endswith("Ms") and isinstance(value, int | float):
        return f"{name.removesuffix('Ms')}={units.seconds(value / 1000).replace(' ', '')}"
    if isinstance(value, dict):
        return f"{name}({' '.join(f'{inner}={each}' for inner, each in value.items())})"
    return f"{name}={value}"
