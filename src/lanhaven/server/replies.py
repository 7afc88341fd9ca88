"""Replies that are written before any application is asked: refusals of the HTTP layer itself."""

from __future__ import annotations

import http
import random
import time
from collections.abc import Iterable

from lanhaven.wire import encode

Headers = list[tuple[bytes, bytes]]

# On every reply of this server, unless the reply brings a header of that name itself (F-153).
SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
)


def new_request_id() -> str:
    """`req_<milliseconds>_<random>` (S0-x11): the one id of a request, in X-Request-Id, the log and events.

    It is no secret, so it need not cost a system call.
    """
    return f"req_{time.time_ns() // 1_000_000}_{random.getrandbits(40):010x}"


def error_body(message: str, hint: str | None = None) -> bytes:
    """The smallest native error."""
    return encode({"error": message} if hint is None else {"error": message, "hint": hint})


def raw_refusal(status: int, message: str, default_headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A whole HTTP/1.1 error reply that ends the connection. `message` is a fixed text of ours, nothing received."""
    body = error_body(message)
    headers: Headers = [
        *default_headers,
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", new_request_id().encode()),
        *SECURITY_HEADERS,
        (b"connection", b"close"),
    ]
    if status == 405:
        headers.append((b"allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"))
    if status == 503:
        headers.append((b"retry-after", b"1"))
    lines = [b"HTTP/1.1 %d %s" % (status, http.HTTPStatus(status).phrase.encode())]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
