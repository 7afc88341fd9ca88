"""Every route that there is, by every method, without a key: refused, but for the few that stand here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.openapi.utils import get_openapi

from lanhaven.dialects import all_dialects, all_sockets
from lanhaven.server.app import Router
from tests.serving import House, native_of, serving

pytestmark = pytest.mark.anyio

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PUBLIC = {
    "/",  # the page, or a word that the server runs
    "/ui/session",  # who am I, sign in, sign out
    "/ai/lmstudio/demo",  # to the page
    "/health",
    "/livez",
    "/readyz",
    "/favicon.ico",
    "/lmstudio-greeting",
    "/lms-status",
    "/schema/models.json",
    "/schema/config.json",
    "/ca.crt",  # what makes a machine trust this server's certificates
}


def routes(house: House) -> set[str]:
    """Every path, with a name where one is asked for."""
    context = house.services.dialect_context
    paths = {*Router(all_dialects(context)).paths(), *all_sockets(context), "/"}
    native = native_of(house.services)
    paths |= {path for route in native.routes if (path := vars(route).get("path")) is not None}
    paths |= set(get_openapi(title="x", version="x", routes=native.routes)["paths"])
    named = {re.sub(r"\{[^}]*\}", "x", path) for path in paths}
    return {f"{path}x" if path.endswith("/") and path != "/" else path for path in named}


@pytest.mark.req("F-141", "S0-03")
async def test_nothing_but_the_public_routes_answers_without_a_key(tmp_path: Path) -> None:
    async with serving(tmp_path, key="a-key-of-the-settings") as house:
        del house.http.headers["X-API-Key"]
        paths = routes(house)
        assert len(paths) > 100
        for path in sorted(paths - PUBLIC):
            for method in METHODS:
                reply = await house.http.request(method, path)
                assert reply.status_code == 401, (method, path)
        for path in sorted(PUBLIC & paths):
            assert (await house.http.get(path)).status_code != 401, path
