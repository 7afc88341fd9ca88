"""`status` and `version`."""

from __future__ import annotations

from typing import Any

from lanhaven.cli import output, units
from lanhaven.cli.connection import Json, Key, Url, connect


def status(url: Url = None, key: Key = None, json: Json = False) -> None:
    """Show whether the server runs, and what it does now."""
    with connect(url, key) as server:
        target = server.target
        health = server.get("/health")
        now = server.get("/debug/status")
    if json:
        output.document({"url": target.url, "pid": target.pid, "health": health, "status": now})
        return
    output.pairs(
        [
            ("server", target.url),
            ("state", _state(health, now)),
            ("version", health.get("version")),
            ("process", target.pid),
            ("up for", units.seconds(health["uptime"])),
            ("models loaded", health["models_loaded"]),
            ("active model", _active(now["activeModel"])),
            ("now", _operation(now["currentOperation"])),
            ("requests", now["totalRequests"]),
            ("errors", now["totalErrors"]),
            *(("problem", each) for each in now.get("problems", ())),
            *((name, _backend(backend)) for name, backend in health.get("backends", {}).items()),
        ]
    )


def version(json: Json = False) -> None:
    """Show the version."""
    import platform

    from lanhaven import __version__

    if json:
        output.document({"version": __version__, "python": platform.python_version(), "platform": platform.platform()})
        return
    output.data(f"lanhaven {__version__}")


def _state(health: Any, now: Any) -> str:
    if now.get("draining"):
        return "going down"
    return str(now["status"]) if health["status"] == "ok" else f"{now['status']}, {health['status']}"


def _active(active: Any) -> str:
    if active["modelKey"] is None:
        return "none"
    instance = active["instanceId"]
    return active["modelKey"] if instance in (None, active["modelKey"]) else f"{active['modelKey']} ({instance})"


def _operation(operation: Any) -> str:
    if operation is None:
        return "idle"
    progress = operation.get("progress")
    share = f" {progress:.0%}" if isinstance(progress, float) else ""
    return f"{str(operation['type']).replace('_', ' ')} {operation.get('modelKey') or ''}{share}".strip()


def _backend(backend: Any) -> str:
    mark = "ok" if backend["ok"] else "not available"
    return f"{mark}: {backend['detail']}" if backend.get("detail") else mark
