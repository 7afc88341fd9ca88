"""Who really asks, when a reverse proxy stands in between (F-145)."""

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
