"""The server: listener, security, routes."""

from __future__ import annotations

from collections.abc import Callable

from lanhaven.config import Settings
from lanhaven.server.startup import ServerInfo, serve_until_stopped

__all__ = ["ServerInfo", "run"]


def run(settings: Settings, on_ready: Callable[[ServerInfo], None]) -> int:
    """Serve until a signal ends it; the exit status. `on_ready` is called once requests are answered.

    Raises GatewayError for what keeps the server from starting (a port taken, an unsafe bind, a broken models.yaml).
    """
    return serve_until_stopped(settings, on_ready)
