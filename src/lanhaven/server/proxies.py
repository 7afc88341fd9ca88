"""Who really asks, and how, when a reverse proxy stands in between (F-145)."""

from __future__ import annotations

from lanhaven.errors import Forbidden
from lanhaven.network.addresses import Gate, parse_hop


def client_behind(peer: str, forwarded: bytes, proxies: Gate) -> str:
    """The client's address as the nearest trusted proxy saw it: the right-most hop that is no trusted proxy itself.

    What stands further left is what that client wrote, and is not believed. Without a header the proxy asks on its own
    behalf. Forbidden if the hop that counts is not an address. `Forwarded` and `X-Real-IP` are not read at all.
    """
    client = peer
    for hop in reversed(forwarded.decode("latin-1").split(",") if forwarded.strip() else []):
        address = parse_hop(hop)
        if address is None:
            raise Forbidden("Forbidden", hint="the proxy sent an X-Forwarded-For that is not a list of addresses")
        client = str(address)
        if not proxies.admits(client):
            break
    return client


def scheme_behind(forwarded: bytes) -> str | None:
    """ "http" or "https": how the client speaks with the first proxy, by X-Forwarded-Proto; None where it says nothing.

    A client can write it where its proxy does not: it then gets links and cookies that fit what it claims, no rights.
    """
    scheme = forwarded.partition(b",")[0].strip().lower()
    return scheme.decode() if scheme in (b"http", b"https") else None
