"""Who a client of LM Studio says it is: the first frame of every WebSocket."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from typing import Any

from lanhaven.errors import InvalidRequest

_TOKEN = re.compile(r"sk-lm-([A-Za-z0-9]{8}):([A-Za-z0-9]{20})")


@dataclass(frozen=True, slots=True)
class Identity:
    """identifier: the name of a client, shared by all its connections. passkey: what proves it."""

    identifier: str
    passkey: str = field(repr=False)

    def frame(self) -> dict[str, Any]:
        """The first frame that a client sends."""
        return {"authVersion": 1, "clientIdentifier": self.identifier, "clientPasskey": self.passkey}


def identity(token: str | None) -> Identity:
    """The two halves of an API token `sk-lm-xxxxxxxx:yyyyyyyyyyyyyyyyyyyy`; without one, a guest nobody knows.

    A key of another kind (of another server that speaks this protocol) has no halves: it goes with HTTP requests only.
    InvalidRequest for a token that is cut or misspelt; the message does not repeat it.
    """
    if token is None or not token.startswith("sk-lm-"):
        return Identity(f"guest:{secrets.token_urlsafe(18)}", secrets.token_urlsafe(18))
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise InvalidRequest(
            "The API token for LM Studio must look like sk-lm-xxxxxxxx:yyyyyyyyyyyyyyyyyyyy.", param="api_token"
        )
    return Identity(found[1], found[2])
