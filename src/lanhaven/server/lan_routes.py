"""`/admin/lan` and its QR code; `/ca.crt`."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from lanhaven.errors import InvalidRequest, NotFound
from lanhaven.server.lan import Lan
from lanhaven.server.services import Services

HOW_TO_OPEN = "lanhaven up --lan"


def lan_router(services: Services) -> APIRouter:
    """How others come in."""
    router = APIRouter(tags=["lan"])

    @router.get("/admin/lan")
    async def lan() -> dict[str, Any]:
        """Whether others than this machine can reach the server, and how."""
        return lan_json(services.lan)

    @router.get("/admin/lan/qr.svg")
    async def code(url: str) -> Response:
        """One of this server's addresses as a QR code, for a phone."""
        if url not in (*services.lan.urls(), services.lan.named_url):
            raise InvalidRequest("This is not one of the server's addresses.", param="url", hint="GET /admin/lan")
        return Response(await asyncio.to_thread(drawn, url), media_type="image/svg+xml")

    @router.get("/ca.crt")
    async def authority() -> Response:
        """The certificate of the server's own authority, for devices that are to trust it. 404 without `--tls`."""
        path = services.lan.ca
        if path is None:
            raise NotFound("This server has no authority of its own.", hint="lanhaven up --tls")
        return Response(
            await asyncio.to_thread(path.read_bytes),
            media_type="application/x-x509-ca-cert",  # phones offer to install it by this type
            headers={"content-disposition": 'attachment; filename="lanhaven-ca.crt"'},
        )

    return router


def lan_json(lan: Lan) -> dict[str, Any]:
    """The reply of GET /admin/lan."""
    body: dict[str, Any] = {"open": lan.open, "urls": list(lan.urls()), "tls": lan.certificate is not None}
    if lan.named_url is not None:
        body["mdns"] = lan.named_url
    if lan.ca is not None:
        body["caUrl"] = "/ca.crt"
    return {**body, "howToOpen": HOW_TO_OPEN}


def drawn(url: str) -> bytes:
    """The code as SVG, without a size of its own: the page gives it one."""
    import segno

    target = BytesIO()
    segno.make(url, micro=False).save(target, kind="svg", omitsize=True, border=4, light="#fff", dark="#000")
    return target.getvalue()
