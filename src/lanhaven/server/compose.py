"""The application as the listener serves it: routes, and the door in front of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from lanhaven.dialects import all_dialects, all_sockets
from lanhaven.keys.admission import KeyAdmission
from lanhaven.keys.store import KeyStore
from lanhaven.server.app import App, Router, refusal
from lanhaven.server.native import native_app
from lanhaven.server.page_files import File, page_folder, read_files
from lanhaven.server.pages import Pages
from lanhaven.server.security import Security, SecurityPolicy, callers_of
from lanhaven.server.services import Services


def compose(
    services: Services, keys: KeyStore, token: str | None = None, page: Mapping[str, File] | None = None
) -> Security:
    """token: a key with all scopes for this run, or None. page: the dashboard's files, if not those of the build. In
    the event loop that serves."""
    settings = services.settings
    policy = SecurityPolicy.from_settings(settings)
    callers = callers_of(policy, keys, services.sessions, time.monotonic)
    pages = Pages(read_files(page_folder()) if page is None else page, callers)
    context = services.dialect_context
    router, sockets = Router(all_dialects(context)), all_sockets(context)
    services.background.begin()
    if services.history is not None:
        services.history.begin()
    services.gateway.admission = KeyAdmission(keys)
    keys.meters.hear(services.bus)
    app = App(
        router,
        native_app(services, callers),
        pages,
        max_body=settings.max_body_bytes,
        interval=settings.keep_alive_interval,
        draining=services.draining,
        bodies=services.bodies,
        sockets=sockets,
    )
    return Security(
        app,
        replace(policy, public_paths=policy.public_paths | pages.paths),
        keys,
        token=token,
        refuse=refusal(router),
        sockets=sockets,
        callers=callers,
    )
