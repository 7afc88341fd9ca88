"""Where an upstream is, and the head of the requests to it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from lanhaven.errors import InternalError
from lanhaven.types.models import Upstream

JSON_TYPE = b"content-type: application/json"


@dataclass(frozen=True, slots=True)
class Address:
    """What connections can be shared by: a unix socket, or host, port and TLS."""

    socket: str | None = None
    host: str = ""
    port: int = 0
    tls: bool = False

    @property
    def host_header(self) -> str:
        if self.socket is not None:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def address_of(upstream: Upstream) -> Address:
    """InternalError if the upstream is not one: providers validate what a person wrote."""
    if upstream.socket is not None:
        return Address(socket=upstream.socket)
    url = urlsplit(upstream.base_url or "")
    if url.scheme not in ("http", "https") or not url.hostname:
        raise InternalError("An upstream has neither a socket nor an http address.")
    tls = url.scheme == "https"
    return Address(host=url.hostname, port=url.port or (443 if tls else 80), tls=tls)


def head_of(upstream: Upstream, address: Address, method: str, path: str) -> bytes:
    """A request's head up to and with "content-length: "; for GET, up to its last header's value."""
    base = urlsplit(upstream.base_url).path.rstrip("/") if upstream.base_url else ""
    lines = [
        f"{method} {base}{upstream.prefix}{path} HTTP/1.1",
        f"host: {address.host_header}",
        "accept-encoding: identity",
        *(f"{name}: {value}" for name, value in upstream.headers),
    ]
    if method == "POST":
        lines += [JSON_TYPE.decode(), "content-length: "]
    head = "\r\n".join(lines)
    if head.count("\r") != len(lines) - 1 or head.count("\n") != len(lines) - 1 or not head.isascii() or "\0" in head:
        raise InternalError("A header or path of an upstream holds a line break or a character that is not ASCII.")
    return head.encode()
