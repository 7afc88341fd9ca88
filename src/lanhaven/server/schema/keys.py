"""Replies of /admin/keys."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from lanhaven.server.schema.parts import FLAG, TEXT, WHOLE, Schema, listing, record, ref, told, whole_record, word

WINDOWS = ("requestsPerMinute", "requestsPerDay", "tokensPerMinute", "tokensPerDay")

_KEY: Mapping[str, Schema] = MappingProxyType(
    {
        "name": TEXT,
        "scopes": listing(word("inference", "admin", "debug")),
        "prefix": told(TEXT, "How the key begins; empty for the one of the settings."),
        "created": TEXT,
        "lastUsed": TEXT,
        "userAgent": told(TEXT, "The program that used it last."),
        "source": word("file", "settings"),
        "models": told(listing(TEXT), "The only models it may use: names, or patterns of them."),
        "expires": TEXT,
        "expired": FLAG,
        "networks": told(listing(TEXT), "The only networks it is good in."),
        "limits": ref("KeyLimits"),
        "used": ref("KeyUse"),
        "oldKeyUntil": told(TEXT, "Until then the key before the last rotation is good too."),
    }
)
_ALWAYS = ("name", "scopes", "prefix", "source", "expired", "limits", "used")

KEYS: Mapping[str, Schema] = MappingProxyType(
    {
        "KeyLimits": told(record(dict.fromkeys(WINDOWS, WHOLE)), "Only the limits that there are."),
        "KeyUse": told(whole_record(dict.fromkeys(WINDOWS, WHOLE)), "Within the last minute, and the last day."),
        "ApiKey": record(_KEY, *_ALWAYS),
        "ApiKeys": whole_record({"keys": listing(ref("ApiKey"))}),
        "NewApiKey": record({**_KEY, "key": told(TEXT, "The key, shown this once.")}, *_ALWAYS, "key"),
    }
)
