"""`/ai/lmstudio/demo`: a page to try a model on (S3-40), three files without anything from elsewhere.

It holds no secret, so anybody who may reach the server may see it; what it asks the server for needs the key that its
reader types in.
"""

from __future__ import annotations

from functools import partial
from importlib.resources import files

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

PATH = "/ai/lmstudio/demo"
PATHS = {PATH: "page.html", f"{PATH}.css": "page.css", f"{PATH}.js": "page.js"}
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
CSP = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def add_demo(app: FastAPI) -> None:
    """The page's routes."""
    for path, name in PATHS.items():
        app.add_route(path, partial(serve, name), ["GET"], include_in_schema=False)


async def serve(name: str, request: Request) -> Response:
    """One of its files."""
    data = files("lanhaven.server").joinpath("demo", name).read_bytes()
    kind = KINDS[name.rpartition(".")[2]]
    return Response(data, media_type=kind, headers={"Content-Security-Policy": CSP})
