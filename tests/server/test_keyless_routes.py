"""Every route of the server, asked without a key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.schema.houses import operations
from tests.serving import serving

pytestmark = pytest.mark.anyio

KEY = "a-key-that-is-long-enough"
# Who asks without a key is told that this server is here, its version, and how to sign in; nothing else.
PUBLIC = frozenset({"/", "/health", "/livez", "/readyz", "/lmstudio-greeting", "/lms-status", "/ai/lmstudio/demo"})
OTHERS = frozenset({"/ui/session", "/ca.crt"})  # to sign in; the certificate that devices must trust before they can
UNTOLD = ("/docs", "/redoc", "/openapi.json", "/no/such/path", "/chat/completions", "/debug", "/admin", "/static/x.js")


@pytest.mark.req("F-141", "F-142", "P15")
async def test_every_route_in_every_method_needs_a_key_but_the_public_ones(tmp_path: Path) -> None:
    async with serving(tmp_path, key=KEY) as house:
        document = (await house.http.get("/openapi.json")).json()
        paths = {path for path, _, _ in operations(document)} | set(UNTOLD)
        house.http.headers.pop("X-API-Key")
        asked = 0
        for path in sorted(path for path in paths - PUBLIC - OTHERS if not path.startswith("/schema/")):
            for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
                reply = await house.http.request(method, re.sub(r"\{\w+\}", "x", path) + f"?key={KEY}")
                asked += 1
                assert reply.status_code == 401, f"{method} {path}: {reply.text}"
                assert reply.headers["www-authenticate"].startswith("Bearer")
                assert method == "HEAD" or "Unauthorized" in reply.text or "unauthorized" in reply.text.lower()
        assert asked > 500
        for path in PUBLIC:
            assert (await house.http.get(path)).status_code in (200, 303, 307), path
        assert (await house.http.get("/ca.crt")).status_code in (200, 404)
        assert house.events == []
        assert (await house.http.post("/ui/session", json={"key": "wrong"})).status_code == 401
