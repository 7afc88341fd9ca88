"""Who asks: by a key, or by the cookie of a browser that signed in with one."""

from __future__ import annotations

from lanhaven.errors import Forbidden, Unauthorized
from lanhaven.keys.store import KeyInfo, KeyScope, KeyStore, digest_of
from lanhaven.server.attempts import WrongKeys
from lanhaven.server.cookie import cookie_of
from lanhaven.server.sessions import LINK_SECONDS, Holder, Sessions

THIS_RUN = "this run"  # what the key store calls the token of `lanhaven up` itself


class Callers:
    """keyless: whether a server without any key serves."""

    def __init__(self, keys: KeyStore, sessions: Sessions, wrong_keys: WrongKeys, *, keyless: bool) -> None:
        self.keys = keys
        self._sessions = sessions
        self._wrong_keys = wrong_keys
        self._keyless = keyless

    @property
    def anybody(self) -> bool:
        """Whether no key is asked for. It ends for good with the first key."""
        return self._keyless and not self.keys.required

    def still(self, key: KeyInfo | None, scope: KeyScope) -> bool:
        """Whether who came in so may still do this: a stream without an end outlives its key otherwise (F-154)."""
        return self.anybody if key is None else scope in self.scopes(key.name)

    def scopes(self, name: str) -> frozenset[KeyScope]:
        """What the key with this name may do by now: nothing, if it is gone."""
        key = self.keys.named(name)
        return frozenset() if key is None else key.scopes

    def by_key(self, address: str, presented: bytes | None, user_agent: bytes | None = None) -> KeyInfo | None:
        """The key that was presented; None without one. Unauthorized, Forbidden, TooManyAttempts.

        One that has expired is no guess, and not counted as one (F-155).
        """
        if presented is None:
            return None
        digest = digest_of(presented)
        self._wrong_keys.check(address, digest)
        key = self.keys.verify_digest(digest, user_agent)
        if key is None and self.keys.expired(digest):
            raise Unauthorized("Unauthorized", hint="the key has expired: lanhaven keys set NAME --expires 30d")
        if key is None:
            self._wrong_keys.wrong(address)
            raise Unauthorized("Unauthorized", hint="the key is not, or no longer, one of this server's")
        self._wrong_keys.right(address, digest)
        if key.terms.networks:
            self._at(address, key)
        return key

    def by_cookie(self, address: str, host: bytes, cookies: bytes, user_agent: bytes | None = None) -> KeyInfo | None:
        """The key that this browser signed in with; None if it did not, or the key is no longer good. Forbidden."""
        cookie = cookie_of(host, cookies)
        holder = self._sessions.holder(cookie) if cookie is not None else None
        if cookie is None or holder is None:
            return None
        key = self._key_of(holder, user_agent)
        if key is None:
            self._sessions.close(cookie)
        else:
            self._at(address, key)
        return key

    def sign_in(self, key: KeyInfo) -> str:
        """The cookie of a new session with this key."""
        return self._sessions.open(_holder(key))

    def sign_out(self, host: bytes, cookies: bytes) -> None:
        """End the session that this browser has, if any."""
        cookie = cookie_of(host, cookies)
        if cookie is not None:
            self._sessions.close(cookie)

    def link(self, key: KeyInfo | None, seconds: float | None = LINK_SECONDS) -> str | None:
        """A token that signs one browser in, with this key or else the one of this run; None where there is neither."""
        key = key or self.keys.named(THIS_RUN)
        return None if key is None else self._sessions.link(_holder(key), seconds)

    def redeem(self, token: str) -> str | None:
        """The cookie that a link's token becomes; None for one that is not, or no longer, good."""
        holder = self._sessions.redeem(token)
        key = self._key_of(holder) if holder is not None else None
        return None if key is None else self.sign_in(key)

    def _key_of(self, holder: Holder, user_agent: bytes | None = None) -> KeyInfo | None:
        key = self.keys.verify_digest(holder.digest, user_agent)
        return key if key is not None and key.name == holder.name else None

    def _at(self, address: str, key: KeyInfo) -> None:
        if not self.keys.table.admits(key, address):
            raise Forbidden("Forbidden", hint=f"the key {key.name} is good in {', '.join(key.terms.networks)} only")


def _holder(key: KeyInfo) -> Holder:
    return Holder(key.name, key.digest, lasting=key.source != "run")
