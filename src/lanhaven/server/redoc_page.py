"""`/redoc`: the OpenAPI document in Redoc, which is shipped with the package: nothing comes from anywhere else.

The bundle is that of npm's redoc 2.5.4, byte for byte (MIT; redoc/LICENSE.txt). It makes style elements that it fills
by script, one with rules in it, and a worker of its own text for the search: the policy names each of them.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

PATH = "/redoc"
SCRIPT = "/redoc/redoc.standalone.js"
VERSION = "2.5.4"
STYLE = "body { margin: 0; }"
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
EMPTY_HASH = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="  # of the empty text: what a script fills later
SCROLLBAR_HASH = "QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc="  # of the scroll bar's rules in this very bundle
CSP = (
    f"default-src 'none'; script-src 'self'; style-src 'sha256-{STYLE_HASH}' 'sha256-{EMPTY_HASH}' "
    f"'sha256-{SCROLLBAR_HASH}'; connect-src 'self'; worker-src blob:; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"  # the one thing that it would fetch from elsewhere
PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>LanHaven</title>'
    '<meta name="viewport" content="width=device-width">'
    f"<style>{STYLE}</style></head><body>"
    f'<redoc spec-url="/openapi.json"></redoc><script src="{SCRIPT}?{VERSION}"></script></body></html>'
)


def add_redoc(app: FastAPI) -> None:
    """The page's routes."""
    app.add_route(PATH, page, ["GET"], include_in_schema=False)
    app.add_route(SCRIPT, script, ["GET"], include_in_schema=False)


async def page(request: Request) -> Response:
    """The page: Redoc asks for the document itself."""
    return HTMLResponse(PAGE, headers={"content-security-policy": CSP})


async def script(request: Request) -> Response:
    """Redoc, without its makers' logo."""
    data = files("lanhaven.server").joinpath("redoc", "redoc.standalone.js").read_bytes()
    headers = {"cache-control": "private, max-age=604800"}
    return Response(data.replace(LOGO, b"data:,"), media_type="text/javascript", headers=headers)
