"""What /admin/connect answers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from lanhaven.connect.recipe import Kind, StepKind
from lanhaven.server.schema.parts import ANY, FLAG, TEXT, WHOLE, Schema, listing, record, ref, told, word

_KEY = "`{{key}}` stands where the key goes; on a server without keys anything does."

CONNECT: Mapping[str, Schema] = MappingProxyType(
    {
        "ConnectStep": record(
            {
                "title": TEXT,
                "kind": word(*StepKind),
                "language": told(TEXT, "Of the text: sh, json, yaml, toml, python, javascript."),
                "path": told(TEXT, "Of the file that the text goes into."),
                "text": told(TEXT, _KEY),
            },
            "title",
            "kind",
            "text",
        ),
        "ConnectProbe": record(
            {
                "name": TEXT,
                "method": word("GET", "POST"),
                "path": TEXT,
                "body": told(ANY, "Sent as JSON."),
                "expect": told(TEXT, "What the reply must hold, besides a status 2xx."),
            },
            "name",
            "method",
            "path",
        ),
        "ConnectApp": record(
            {
                "id": TEXT,
                "name": TEXT,
                "about": TEXT,
                "kind": word(*Kind),
                "dialect": TEXT,
                "needs": told(listing(TEXT), "tools, context>=TOKENS."),
                "warnings": listing(TEXT),
                "tested": told(TEXT, "The version that was tried, or whose requests are replayed in tests."),
                "steps": listing(ref("ConnectStep")),
                "probes": told(listing(ref("ConnectProbe")), "Requests as the app makes them, to be sent in order."),
            },
            *("id", "name", "about", "kind", "dialect", "needs", "warnings", "steps", "probes"),
        ),
        "ConnectApps": record(
            {
                "baseUrl": TEXT,
                "model": TEXT,
                "contextLength": told(WHOLE, "Tokens that a request may have; absent where nobody knows."),
                "maxContextLength": told(WHOLE, "Tokens that the model could have at most."),
                "chats": told(FLAG, "False of a model for embeddings."),
                "tools": told(FLAG, "Whether the model can call tools; absent where nobody knows."),
                "vision": FLAG,
                "ownCa": told(FLAG, "The server's certificate is of its own authority, which apps do not know."),
                "keyRequired": FLAG,
                "apps": listing(ref("ConnectApp")),
            },
            *("baseUrl", "model", "chats", "ownCa", "keyRequired", "apps"),
        ),
    }
)
