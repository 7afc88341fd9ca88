"""How others reach the server."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from lanhaven.server.schema.parts import FLAG, TEXT, Schema, listing, record, told

LAN: Mapping[str, Schema] = MappingProxyType(
    {
        "Lan": record(
            {
                "open": told(FLAG, "Others than this machine can reach the server."),
                "urls": told(listing(TEXT), "The server's addresses, the likeliest first."),
                "mdns": told(TEXT, "Its address by name, where the network was told one."),
                "tls": FLAG,
                "caUrl": told(TEXT, "Where its own authority's certificate is, if it has one."),
                "howToOpen": told(TEXT, "The command that lets others in."),
            },
            "open",
            "urls",
            "tls",
            "howToOpen",
        )
    }
)
