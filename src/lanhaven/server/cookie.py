"""The cookie of a browser that signed in. Pure.

Its name holds the port: browsers send a host's cookies to all of its ports, so that a second server beside this one
would put its own in this one's place.
"""

from __future__ import annotations

from lanhaven.server.sessions import LIFETIME

NAME = "lanhaven_session"


def cookie_name(host: bytes) -> str:
    """Under the name and port that the browser uses (its Host header)."""
    port = host.rpartition(b":")[2].decode("latin-1")
    return f"{NAME}_{port}" if b":" in host and port.isdigit() else NAME


def cookie_of(host: bytes, cookies: bytes) -> str | None:
    """What the Cookie header holds for this server; None without it."""
    wanted = cookie_name(host)
    for pair in cookies.decode("latin-1").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == wanted and value:
            return value
    return None


def set_cookie(host: bytes, value: str, *, secure: bool) -> str:
    """Set-Cookie for a session. Strict: no page of anybody else's, and no link on one, brings it along."""
    return _line(host, value, round(LIFETIME), secure=secure)


def clear_cookie(host: bytes, *, secure: bool) -> str:
    """Set-Cookie that takes it away."""
    return _line(host, "", 0, secure=secure)


def _line(host: bytes, value: str, seconds: int, *, secure: bool) -> str:
    line = f"{cookie_name(host)}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}"
    return f"{line}; Secure" if secure else line
