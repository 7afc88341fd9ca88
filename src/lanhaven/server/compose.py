"""The application as the listener serves it: routes, and the door in front of them."""

from __future__ import annotations

from lanhaven.dialects import all_dialects, all_sockets
from lanhaven.keys.store import KeyStore
from lanhaven.server.app import App, Router, refusal
from lanhaven.server.native import native_app
from lanhaven.server.security import Security, SecurityPolicy
from lanhaven.server.services import Services


def compose(services: Services, keys: KeyStore, token: str | None = None) -> Security:
    """`token`: a key with all scopes for this run, or None. In the event loop that serves."""
    settings = services.settings
    context = services.dialect_context
    router, sockets = Router(all_dialects(context)), all_sockets(context)
    services.background.begin()
    app = App(
        router,
        native_app(services),
        max_body=settings.max_body_bytes,
        interval=settings.keep_alive_interval,
        draining=services.draining,
        sockets=sockets,
    )
    return Security(
        app, SecurityPolicy.from_settings(settings), keys, token=token, refuse=refusal(router), sockets=sockets
    )
