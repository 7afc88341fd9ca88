"""What a browser is told when it comes in."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from lanhaven.server.schema.parts import FLAG, TEXT, Schema, listing, record, ref, told

ENTRY: Mapping[str, Schema] = MappingProxyType(
    {
        "SignedInKey": record({"name": TEXT, "scopes": listing(TEXT)}, "name", "scopes"),
        "BrowserSession": record(
            {
                "signedIn": FLAG,
                "keyRequired": told(FLAG, "Without keys everybody is signed in."),
                "key": ref("SignedInKey"),
                "version": TEXT,
                "tls": FLAG,
            },
            "signedIn",
            "keyRequired",
            "version",
            "tls",
        ),
        "DashboardLink": record({"url": told(TEXT, "Signs one browser in, once, within ten minutes.")}, "url"),
    }
)
