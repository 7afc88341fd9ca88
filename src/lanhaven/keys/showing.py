"""Keys as the admin API and the command line tell them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lanhaven.events import iso
from lanhaven.keys.key import KeyInfo
from lanhaven.keys.meters import Used


def key_json(key: KeyInfo, used: Used, now: float) -> dict[str, Any]:
    """All that is known of a key but itself; members that say nothing are left out. now: seconds since the epoch."""
    terms = key.terms
    said = {
        "name": key.name,
        "scopes": sorted(key.scopes),
        "prefix": key.prefix,
        "created": _time(key.created),
        "lastUsed": _time(key.last_used),
        "userAgent": key.user_agent,
        "source": key.source,
        "models": list(terms.models) or None,
        "expires": _time(terms.expires),
        "expired": key.expired(now),
        "networks": list(terms.networks) or None,
        "limits": _camel(terms.limits.said()),
        "used": _camel(asdict(used)),
        "oldKeyUntil": _time(key.old.until) if key.old is not None and key.old.until > now else None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else iso(round(seconds * 1e9))


def _camel(amounts: Mapping[str, int]) -> dict[str, int]:
    return {_camel_name(name): amount for name, amount in amounts.items()}


def _camel_name(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
