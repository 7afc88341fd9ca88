"""The head of a request, judged before any application sees it. Pure.

llhttp (httptools) in its strict mode already refuses what is malformed byte by byte: bare CR and LF, folded lines, bad
names, ambiguous lengths, both framings at once. What it lets through and HTTP forbids, or we do, is refused here.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
KNOWN_BUT_REFUSED = frozenset({b"TRACE", b"CONNECT"})

_HOST = re.compile(rb"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,253})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


class Refused(Exception):
    """A request that the HTTP layer does not take: the status, and a fixed text for the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def judge_line(method: bytes, version: str, url: bytes) -> None:
    """The request line; Refused if it is not one we serve."""
    if version not in {"1.1", "1.0"}:
        raise Refused(505, "HTTP version not supported")
    if method not in METHODS:
        raise Refused(405 if method in KNOWN_BUT_REFUSED else 501, "Method not supported")
    if url[:1] != b"/" or b"#" in url:
        # The absolute form is for proxies, which this is not; it would give the request a second idea of its host.
        raise Refused(400, "The request target must be a path")


def judge_headers(headers: list[tuple[bytes, bytes]], version: str) -> tuple[bytes | None, bool]:
    """The headers that frame and address a request; names in lower case. Refused if they are not exactly right.

    Returns the header line that says how long the body is, None if there is no body; and whether the client waits for
    "100 Continue".
    """
    said = dict(headers)
    host = said.get(b"host")
    if len(said) < len(headers) and len(_values(headers, b"host")) > 1:
        raise Refused(400, "More than one Host header")
    if host is None or not _HOST.fullmatch(host):
        raise Refused(400, "The request needs exactly one valid Host header")
    length, framing = said.get(b"content-length"), None
    if b"transfer-encoding" in said:
        codings = _values(headers, b"transfer-encoding")
        if version == "1.0" or any(each.lower() != b"chunked" for each in codings):
            raise Refused(400, "Transfer-Encoding must be chunked, and HTTP/1.0 has none")
        framing = b"transfer-encoding: chunked"
    elif length is not None and length.strip(b"0 \t"):
        framing = b"content-length: " + length
    return framing, b"expect" in said and version == "1.1" and said[b"expect"].lower() == b"100-continue"


def _values(headers: list[tuple[bytes, bytes]], wanted: bytes) -> list[bytes]:
    return [value for name, value in headers if name == wanted]


def split_target(url: bytes) -> tuple[bytes, str, bytes]:
    """(raw path, decoded path, query) of a request target in origin form."""
    raw, _, query = url.partition(b"?")
    path = raw.decode("ascii")
    return raw, unquote(path) if "%" in path else path, query
