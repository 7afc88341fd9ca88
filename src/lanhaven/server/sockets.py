"""Listening sockets: bound before anything else happens, with a plain reason when that fails."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from lanhaven.errors import GatewayError

PORTS_TRIED = 20
UNSENT = 128 << 10  # bytes that the kernel keeps for a client beyond what is on its way


class IfTaken(StrEnum):
    """What to do when the port is in use."""

    FAIL = "fail"
    NEXT = "next"  # the next free one, up to `spare` further
    SKIP = "skip"  # go without this address


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: an IP address or a host name (all its addresses), and a port (0 = any free one)."""

    host: str
    port: int
    if_taken: IfTaken = IfTaken.FAIL
    spare: int = PORTS_TRIED
    tls: bool = False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """How a client on this machine reaches it."""
        local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"{'https' if self.tls else 'http'}://{replace(self, host=local)}"


class ListenError(GatewayError):
    """No socket for this address; message and hint say why and what to do. The server does not start."""

    code = "cannot_listen"


def bind(address: Address) -> list[socket.socket]:
    """Listening sockets for one address; several where a name has several; none if skipped. ListenError."""
    last = address.port + (address.spare if address.port and address.if_taken is IfTaken.NEXT else 0)
    for port in range(address.port, min(last, 65535) + 1):
        try:
            return _bind_all(replace(address, port=port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise _explain(address, error) from None
    if address.if_taken is IfTaken.SKIP:
        return []
    tried = f" (and the next {address.spare})" if last > address.port else ""
    raise ListenError(
        f"Port {address.port}{tried} on {address.host} is in use by another program.",
        hint="stop that program, or choose another port with --port",
    )


def bound_address(sock: socket.socket, *, tls: bool = False) -> Address:
    """The address a socket really has."""
    host, port = sock.getsockname()[:2]
    return Address(host, port, tls=tls)


def with_spare_ports(addresses: Iterable[Address], spare: int) -> tuple[Address, ...]:
    """The same addresses, each content with one of the next `spare` ports if its own is taken."""
    return tuple(replace(address, if_taken=IfTaken.NEXT, spare=spare) for address in addresses)


def _bind_all(address: Address) -> list[socket.socket]:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror:
        raise OSError(errno.EADDRNOTAVAIL, "no such host name") from None
    sockets: list[socket.socket] = []
    port, failure = address.port, OSError(errno.EADDRNOTAVAIL, "the name has no address")
    for family, kind, protocol, _, where in dict.fromkeys(found):
        try:
            sockets.append(_listening(family, kind, protocol, (where[0], port, *where[2:])))
        except OSError as error:
            failure = error
            if error.errno == errno.EADDRINUSE:
                _close(sockets)
                raise
        else:
            port = bound_address(sockets[0]).port  # port 0: the same one for every address of a name
    if not sockets:
        raise failure
    return sockets


def _listening(family: int, kind: int, protocol: int, where: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":  # there it would let two programs share a port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # "::" serves IPv4 as well, whatever the system's default is; its clients show up as ::ffff:a.b.c.d.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if where[0] == "::" else 1)
        _tune(sock)
        sock.setblocking(False)
        sock.bind(where)
    except BaseException:
        sock.close()
        raise
    return sock


def _tune(sock: socket.socket) -> None:
    """Options that accepted sockets inherit."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform != "linux":
        return
    # A peer that lost its power never says so: ask after 60 s of silence, give up after another 30.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    # Else the kernel takes megabytes for a client that does not read, and says "writable" again only when a third of
    # them is gone: a slow reader looks like one that stopped (measured: no sign of life at 1.3 MB/s for 0.5 s).
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)


def _close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _explain(address: Address, error: OSError) -> ListenError:
    match error.errno:
        case errno.EACCES | errno.EPERM:
            return ListenError(
                f"Port {address.port} needs administrator rights.", hint="choose a port above 1023 with --port"
            )
        case errno.EADDRNOTAVAIL:
            return ListenError(
                f"{address.host} is no address of this machine.", hint="choose one of its own with --host"
            )
        case _:
            return ListenError(f"Cannot listen on {address}: {error.strerror}.")
