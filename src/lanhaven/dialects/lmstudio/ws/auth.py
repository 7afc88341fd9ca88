"""The first frame of a connection: who the client is.

    {"authVersion": 1, "clientIdentifier": "...", "clientPasskey": "..."} -> {"success": true}

An identifier names a client, which its connections share: the first passkey seen for it is the right one until the last
of them closes. An API token `sk-lm-<8>:<20>` comes split into the two. The clients' older versions know no tokens, and
send random words: those are guests, and whether they may come in is the door's to say.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lanhaven.dialects.lmstudio.ws.wire import Sign, Wire, read_frame
from lanhaven.errors import GatewayError, Unauthorized

Scopes = Callable[[], frozenset[str]]  # what a client may do by now
Admit = Callable[[str | None], tuple[str | None, Scopes]]  # a token -> name of its key, and its scopes

PATIENCE = 10.0  # seconds for the first frame
LONGEST = 256  # characters of an identifier or passkey
LONGEST_FRAME = 8 * LONGEST

_IDENTIFIER, _PASSKEY = re.compile(r"[A-Za-z0-9]{8}"), re.compile(r"[A-Za-z0-9]{20}")


@dataclass(frozen=True, slots=True)
class Introduction:
    """What a client says of itself."""

    identifier: str
    passkey: str

    @property
    def token(self) -> str | None:
        """The API token that was split into the two; None if they have not its form."""
        if _IDENTIFIER.fullmatch(self.identifier) and _PASSKEY.fullmatch(self.passkey):
            return f"sk-lm-{self.identifier}:{self.passkey}"
        return None


class Clients:
    """Who is connected: first come, first served."""

    def __init__(self) -> None:
        self._passkeys: dict[str, str] = {}
        self._connections: Counter[str] = Counter()

    @contextmanager
    def connected(self, who: Introduction) -> Iterator[None]:
        """For the time of one connection. Unauthorized if the identifier is another client's now."""
        known = self._passkeys.setdefault(who.identifier, who.passkey)
        if not hmac.compare_digest(known.encode(), who.passkey.encode()):
            raise Unauthorized(f'Failed to validate client: Invalid client passkey for client "{who.identifier}"')
        self._connections[who.identifier] += 1
        try:
            yield
        finally:
            self._connections[who.identifier] -= 1
            if not self._connections[who.identifier]:
                del self._connections[who.identifier], self._passkeys[who.identifier]

    def __repr__(self) -> str:
        return f"Clients({len(self._passkeys)}, {self._connections.total()} connections)"


async def introduced(wire: Wire, patience: float = PATIENCE) -> Introduction | None:
    """The client's first readable frame; None if it leaves, is too slow, or the server goes down."""
    try:
        async with asyncio.timeout(patience):
            while True:
                message = await wire.receive()
                if isinstance(message, Sign):
                    return None
                said = _introduction(message)
                if said is not None:
                    return said
    except TimeoutError:
        return None


def _introduction(text: str) -> Introduction | None:
    if len(text) > LONGEST_FRAME:
        return None
    match read_frame(text):
        case {"authVersion": 1, "clientIdentifier": str(identifier), "clientPasskey": str(passkey)} if (
            len(identifier) <= LONGEST and len(passkey) <= LONGEST
        ):
            return Introduction(identifier, passkey)
    return None


def refusal(error: GatewayError) -> dict[str, Any]:
    """The answer to a client that may not come in. `error` must be text: JavaScript refuses anything else."""
    message = error.message if error.hint is None else f"{error.message}: {error.hint}"
    return {"success": False, "error": message}
