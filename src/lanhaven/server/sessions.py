"""Browsers that signed in: links that work once, and the cookies they become.

Pure: the clock is handed in, and of links and cookies only digests are kept. Bounded: who came last pushes out who was
unseen for longest.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

LIFETIME = 30 * 86_400.0  # seconds that a browser stays signed in
LINK_SECONDS = 600.0
MOST_SESSIONS, MOST_LINKS = 1_000, 100


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose session it is. It ends with that very key: another one under the same name has another digest.

    lasting: whether it outlives this run of the server.
    """

    name: str
    digest: bytes
    lasting: bool = True


class Sessions:
    """clock: seconds since the epoch, for sessions last over a restart. `changes` counts what `dump()` would write
    differently."""

    def __init__(self, clock: Callable[[], float], *, bound: int = MOST_SESSIONS) -> None:
        self._clock = clock
        self._bound = bound
        self._open: OrderedDict[bytes, tuple[Holder, float]] = OrderedDict()  # digest of a cookie -> whose, until when
        self._links: OrderedDict[bytes, tuple[Holder, float | None]] = OrderedDict()
        self.changes = 0

    def __repr__(self) -> str:
        return f"Sessions({len(self._open)} open, {len(self._links)} links)"

    def link(self, holder: Holder, seconds: float | None = LINK_SECONDS) -> str:
        """A token that opens one session; None = until it is used."""
        token = secrets.token_urlsafe(32)
        self._links[_digest(token)] = (holder, None if seconds is None else self._clock() + seconds)
        if len(self._links) > MOST_LINKS:
            self._links.popitem(last=False)
        return token

    def redeem(self, token: str) -> Holder | None:
        """Who made the link; None if it was used, is too old, or never was."""
        holder, until = self._links.pop(_digest(token), (None, None))
        return None if until is not None and until <= self._clock() else holder

    def open(self, holder: Holder) -> str:
        """The cookie of a new session."""
        cookie = secrets.token_urlsafe(32)
        self._keep(_digest(cookie), holder, self._clock() + LIFETIME)
        return cookie

    def holder(self, cookie: str) -> Holder | None:
        """Whose session it is; None if there is none, or no longer."""
        digest = _digest(cookie)
        found = self._open.get(digest)
        if found is None:
            return None
        if found[1] <= self._clock():
            self._forget(digest)
            return None
        self._open.move_to_end(digest)
        return found[0]

    def close(self, cookie: str) -> None:
        """Sign out."""
        self._forget(_digest(cookie))

    def dump(self) -> bytes:
        """The sessions that outlive this run."""
        lasting = [(digest, *found) for digest, found in self._open.items() if found[0].lasting]
        return json.dumps(
            [[digest.hex(), who.name, who.digest.hex(), until] for digest, who, until in lasting]
        ).encode()

    def restore(self, kept: bytes) -> None:
        """What `dump` gave. ValueError if it is nothing of the kind."""
        try:
            rows = [
                (bytes.fromhex(digest), Holder(str(name), bytes.fromhex(key)), float(until))
                for digest, name, key, until in json.loads(kept)
            ]
        except TypeError as error:
            raise ValueError(str(error)) from None
        for row in rows:
            self._keep(*row)

    def _keep(self, digest: bytes, holder: Holder, until: float) -> None:
        self._open[digest] = (holder, until)
        self.changes += 1
        if len(self._open) > self._bound:
            self._open.popitem(last=False)

    def _forget(self, digest: bytes) -> None:
        if self._open.pop(digest, None) is not None:
            self.changes += 1


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
