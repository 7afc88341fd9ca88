"""Which web pages may read answers (CORS), and which may ask at all (Origin)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lanhaven.server.replies import Headers

METHODS = b"GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"
HEADERS = b"Content-Type, Accept, Authorization, X-API-Key"  # where the browser does not say which
EXPOSED = (
    b"X-Request-Id, Request-Id, Retry-After, X-Should-Retry, X-LanHaven-Dropped-Messages, X-LanHaven-Dropped-Tokens, "
    b"X-LanHaven-Left-Out, X-LanHaven-Unenforced"
)
PREFLIGHT_AGE = b"600"
_NAMES = re.compile(rb"[\w-]+(?:, ?[\w-]+)*")
MOST_NAMES = 2048  # bytes


class Cors:
    """Exact origins, or "*" for any, without credentials: Starlette's `CORSMiddleware` with both echoes any origin."""

    def __init__(self, origins: Iterable[str]) -> None:
        listed = frozenset(origin.encode("ascii") for origin in origins)
        self.any = b"*" in listed
        self._listed = listed - {b"*"}

    def __repr__(self) -> str:
        return f"Cors({'any, without credentials' if self.any else sorted(self._listed)})"

    def lists(self, origin: bytes) -> bool:
        """Whether this very origin was configured."""
        return origin in self._listed

    def headers(self, origin: bytes) -> Headers:
        """What the reply to a page of `origin` carries; without an Allow-Origin its browser withholds the reply."""
        if origin in self._listed:
            return [
                (b"access-control-allow-origin", origin),
                (b"access-control-allow-credentials", b"true"),
                (b"access-control-expose-headers", EXPOSED),
                (b"vary", b"Origin"),
            ]
        if self.any:
            return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", EXPOSED)]
        return [(b"vary", b"Origin")]

    def preflight(self, origin: bytes, names: bytes = b"") -> Headers:
        """The reply to a browser's question beforehand. names: of the headers that the page wants to send. It may send
        any: each client library has its own, and they mean nothing to a page that is let in."""
        if origin not in self._listed and not self.any:
            return [(b"vary", b"Origin")]
        return [
            *self.headers(origin),
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", names if _named(names) else HEADERS),
            (b"access-control-max-age", PREFLIGHT_AGE),
        ]


def _named(names: bytes) -> bool:
    return len(names) <= MOST_NAMES and _NAMES.fullmatch(names) is not None


def is_own(origin: bytes, host: bytes) -> bool:
    """Whether a page of `origin` was served by us, under the name that this request uses. TLS may end before us."""
    scheme, _, authority = origin.partition(b"://")
    return scheme in {b"http", b"https"} and authority == host
