"""The dashboard: `/`, which is the page for browsers and a word for programs, and the page's files below `/ui/`.

Nothing here is secret and nothing needs a key: the page asks who its reader is (`/ui/session`) like everybody else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from lanhaven.server.callers import Callers
from lanhaven.server.cookie import set_cookie
from lanhaven.server.page_files import INDEX, File

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

ROOT = "/"
SIGN_IN_AGAIN = b"/#/signin?link=used"
CSP = (
    b"default-src 'self'; img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    b"object-src 'none'"
)
BANNER = File(b"LanHaven is running\n", "text/plain; charset=utf-8")
NOT_BUILT = File(
    b'<!doctype html><html lang="en"><meta charset="utf-8"><title>LanHaven</title><p>LanHaven is running, but its '
    b"dashboard was not built: in the checkout, run <code>scripts/setup</code> (it needs Node.js and npm), then start "
    b"the server again. Everything else works.</p></html>\n",
    "text/html; charset=utf-8",
)


class Pages:
    """files: what `read_files` gives. An ASGI application for the GET and HEAD of its paths."""

    def __init__(self, files: Mapping[str, File], callers: Callers) -> None:
        self._page = files.get(INDEX, NOT_BUILT)
        self._files = {path: file for path, file in files.items() if path != INDEX}
        self._callers = callers

    def __repr__(self) -> str:
        return f"Pages({'not built' if self._page is NOT_BUILT else f'{len(self._files)} files'})"

    @property
    def paths(self) -> frozenset[str]:
        """All paths that are served."""
        return frozenset({ROOT, *self._files})

    def serves(self, method: str, path: str) -> bool:
        """Whether this request is for here."""
        return method in ("GET", "HEAD") and (path == ROOT or path in self._files)

    async def __call__(self, scope: MutableMapping[str, Any], send: Send) -> None:
        if scope["path"] != ROOT:
            await self._send(scope, send, self._files[scope["path"]])
            return
        if scope["method"] == "GET" and scope["query_string"]:
            token = parse_qs(scope["query_string"].decode("latin-1")).get("token")
            if token is not None:
                await self._let_in(scope, send, token[0])
                return
        browser = b"text/html" in header(scope, b"accept")
        await self._send(scope, send, self._page if browser else BANNER, [(b"vary", b"Accept, Accept-Encoding")])

    async def _let_in(self, scope: MutableMapping[str, Any], send: Send, token: str) -> None:
        """A link's token becomes a cookie. Who is signed in already needs no new link."""
        cookie = self._callers.redeem(token)
        known = cookie is not None or scope.get("lanhaven.key") is not None
        headers: Headers = [(b"location", ROOT.encode() if known else SIGN_IN_AGAIN), (b"content-length", b"0")]
        if cookie is not None:
            line = set_cookie(header(scope, b"host"), cookie, secure=scope["scheme"] == "https")
            headers.append((b"set-cookie", line.encode("ascii")))
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def _send(self, scope: MutableMapping[str, Any], send: Send, file: File, more: Headers | None = None) -> None:
        packed = file.packed if b"gzip" in header(scope, b"accept-encoding") else None
        body = file.body if packed is None else packed
        tag = f'"{file.tag}{"" if packed is None else "-gz"}"'.encode()
        headers: Headers = [
            (b"content-type", file.kind.encode()),
            (b"cache-control", b"public, max-age=31536000, immutable" if file.lasting else b"no-cache"),
            (b"etag", tag),
            (b"content-security-policy", CSP),
            *(more or [(b"vary", b"Accept-Encoding")]),
        ]
        if packed is not None:
            headers.append((b"content-encoding", b"gzip"))
        same = tag in header(scope, b"if-none-match")
        if not same:
            headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": 304 if same else 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if same or scope["method"] == "HEAD" else body})


def header(scope: MutableMapping[str, Any], name: bytes) -> bytes:
    """The values of a header, joined; empty without one."""
    return b",".join(value for each, value in scope["headers"] if each == name)
