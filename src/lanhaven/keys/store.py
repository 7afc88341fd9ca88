"""Keys: made, checked, changed, revoked. Only SHA-256 digests are kept; 256 random bits need no slow hash."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lanhaven.errors import GatewayError, InvalidRequest, NotFound, Overloaded
from lanhaven.keys import earlier, key_file
from lanhaven.keys.key import ALL_SCOPES, RESERVED, KeyInfo, KeyScope, OldKey, Terms, check_name, check_scopes, checked
from lanhaven.keys.key_file import KeyFileError, Keys
from lanhaven.keys.making import digest_of, is_studios, new_secret, prefix_of, weakness
from lanhaven.keys.meters import Count, Meters
from lanhaven.keys.table import KeyTable
from lanhaven.keys.way_in import WayIn

if TYPE_CHECKING:
    from lanhaven.config import Settings

__all__ = ["ALL_SCOPES", "KeyFileError", "KeyInfo", "KeyScope", "KeyStore", "digest_of", "weakness"]

log = logging.getLogger("lanhaven.keys")

FILE_NAME = "keys.sqlite3"
LOOK_EVERY = 0.5  # seconds between two looks at the file (F-154 promises 1 s)
UNKNOWN: key_file.Identity = ()  # of a file that is to be read again
AGENT_SHOWN = 200  # characters of a User-Agent


def seconds_now() -> float:
    """Since the epoch."""
    return time.time_ns() / 1e9


@dataclass(frozen=True, slots=True)
class _Written:
    """What is to be written down of the use of keys."""

    uses: tuple[key_file.Use, ...]
    counts: list[Count]


class KeyStore:
    """Named keys in a file, the one of the settings, and those of this run. What reads is for one thread (the event
    loop's); what changes the file may be called in another one.

    `verify` sees changes of the file (by `lanhaven keys` in another process) within LOOK_EVERY seconds. A file that is
    damaged while the server runs changes nothing; one that is deleted revokes its keys.

    clock: seconds that only go forward. wall: seconds since the epoch.
    """

    def __init__(
        self,
        path: Path,
        *,
        api_key: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = seconds_now,
    ) -> None:
        self._path = path
        self._clock = clock
        self._wall = wall
        self._fixed: Keys = ()
        self._run: Keys = ()
        if api_key:
            self._fixed = (KeyInfo("settings", ALL_SCOPES, digest_of(api_key), source="settings"),)
        self._used: dict[str, tuple[float, str | None]] = {}  # name -> when (since the epoch), by which program
        self._unwritten: set[str] = set()
        self._told = False  # that nothing can be written
        self._changing = threading.Lock()  # who changed the file last says last what is in it
        self.meters = Meters(clock, wall)
        key_file.take_over(path, path.with_name(earlier.FILE_NAME))
        self._identity = key_file.identity(path)
        self._stored = key_file.read(path)
        self.meters.restore(key_file.counts(path, wall()))
        self._table = KeyTable((*self._fixed, *self._stored))
        self._look_at = clock() + LOOK_EVERY
        self._had_keys = bool(self._fixed or self._stored)

    @classmethod
    def from_settings(cls, settings: Settings) -> KeyStore:
        """The store of this installation. KeyFileError."""
        given = settings.api_key.get_secret_value() if settings.api_key else None
        return cls(settings.config_dir / FILE_NAME, api_key=given)

    def __repr__(self) -> str:
        return f"KeyStore({', '.join(key.name for key in self.list()) or 'empty'})"

    # ---- reading

    @property
    def required(self) -> bool:
        """Whether requests need a key. Once there was one it stays so until the server starts anew: revoking the last
        key must not open the door."""
        if not self._had_keys and self._clock() >= self._look_at:
            self._look()
        return self._had_keys

    @property
    def table(self) -> KeyTable:
        """The keys as they are now."""
        if self._clock() >= self._look_at:
            self._look()
        return self._table

    def list(self) -> tuple[KeyInfo, ...]:
        """All keys but those of this run, with the times of last use that are known."""
        if self._clock() >= self._look_at:
            self._look()
        return tuple(self._with_use(key) for key in (*self._fixed, *self._stored))

    def named(self, name: str) -> KeyInfo | None:
        """The key with this name, also one of this run; None if there is none, or no longer."""
        if self._clock() >= self._look_at:
            self._look()
        key = self._table.by_name.get(name)
        return None if key is None or (key.terms.expires is not None and self._over(key)) else key

    def verify(self, key: str | bytes) -> KeyInfo | None:
        """Whose key this is; None if nobody's."""
        return self.verify_digest(digest_of(key))

    def verify_digest(self, digest: bytes, user_agent: bytes | None = None) -> KeyInfo | None:
        """As `verify`, for the SHA-256 of a key; user_agent: of the program that uses it."""
        if self._clock() >= self._look_at:
            self._look()
        key = self._table.find(digest)
        if key is None or (key.terms.expires is not None and self._over(key)):
            return None
        if user_agent:
            agent: str | None = user_agent[:AGENT_SHOWN].decode("latin-1")
        else:
            _, agent = self._used.get(key.name, (0.0, key.user_agent))
        self._used[key.name] = (self._wall(), agent)
        self._unwritten.add(key.name)
        return key

    def expired(self, digest: bytes) -> bool:
        """Whether this was a key until its time was over."""
        key = self.table.find(digest)
        return key is not None and self._over(key)

    def _over(self, key: KeyInfo) -> bool:
        return key.expired(self._wall())

    # ---- changing

    def add(
        self,
        name: str,
        scopes: Iterable[KeyScope] = ALL_SCOPES,
        *,
        terms: Terms | None = None,
        lmstudio: bool = False,
    ) -> str:
        """Make a key; it is returned this once. InvalidRequest if the name is bad or taken; StorageFull.

        lmstudio: of the form that LM Studio's clients take as an API token; good everywhere else too.
        """
        chosen, now = frozenset(KeyScope(scope) for scope in scopes), self._wall()
        check_name(name)
        check_scopes(chosen)
        secret = new_secret(lmstudio=lmstudio)
        digest, kept = digest_of(secret), checked(terms or Terms(), now)
        key = KeyInfo(name, chosen, digest, prefix=prefix_of(secret), created=now, terms=kept)

        def with_it(keys: Keys) -> Keys:
            if any(each.name == name for each in keys):
                raise InvalidRequest(
                    f"There is a key named {name} already.", param="name", hint=f"lanhaven keys rotate {name}"
                )
            return (*keys, key)

        self._change(with_it)
        return secret

    def change(
        self,
        name: str,
        scopes: Iterable[KeyScope] | None = None,
        terms: Terms | None = None,
        *,
        by: WayIn | None = None,
    ) -> None:
        """Other scopes, other terms; None leaves them. by: who asks over the network, and is not to shut himself out.

        NotFound, InvalidRequest, StorageFull, OwnKey, LastAdminKey.
        """
        chosen = None if scopes is None else frozenset(KeyScope(scope) for scope in scopes)
        if chosen is not None:
            check_scopes(chosen)

        def changed(keys: Keys) -> Keys:
            old = _named(keys, name)
            kept = old.terms if terms is None else checked(terms, self._wall(), old.terms)
            new = replace(old, scopes=chosen or old.scopes, terms=kept)
            return tuple(new if each is old else each for each in keys)

        self._change(changed, by)

    def revoke(self, name: str, *, by: WayIn | None = None) -> None:
        """Make a key worthless. by: as `change`. NotFound; StorageFull, OwnKey, LastAdminKey."""

        def without_it(keys: Keys) -> Keys:
            gone = _named(keys, name)
            return tuple(each for each in keys if each is not gone)

        self._change(without_it, by)

    def rotate(self, name: str, grace: float = 0.0) -> str:
        """A new key in place of an old one, which is worthless after `grace` seconds; returned this once. NotFound."""
        made: list[str] = []

        def renewed(keys: Keys) -> Keys:
            old, now = _named(keys, name), self._wall()
            secret = new_secret(lmstudio=is_studios(old.prefix))
            made.append(secret)
            rest = OldKey(old.digest, now + grace) if grace > 0 else None
            new = replace(old, digest=digest_of(secret), prefix=prefix_of(secret), created=now, old=rest)
            return tuple(new if each is old else each for each in keys)

        self._change(renewed)
        return made[-1]

    def trust(self, token: str) -> None:
        """Take `token` as a key with all scopes until this process ends: for the command line of the same user. It does
        not count for `required`."""
        self._run = (*self._run, KeyInfo("this run", ALL_SCOPES, digest_of(token), source="run"))
        self._take(self._stored, self._identity)

    # ---- what is written now and then

    def flush(self) -> None:
        """Write down the use of the keys. A lost one does no harm, so a full disk is only told, and once."""
        self._write(self._taken())

    async def keep(self) -> None:
        """`flush`, without holding the event loop up."""
        taken = self._taken()
        if taken.uses or taken.counts:
            await asyncio.to_thread(self._write, taken)

    def _taken(self) -> _Written:
        names, self._unwritten = self._unwritten, set()
        uses = (key_file.Use(name, *self._used[name]) for name in names)
        return _Written(tuple(uses), self.meters.take())

    def _write(self, taken: _Written) -> None:
        known = {each.name for each in self._stored}
        uses = [each for each in taken.uses if each.name in known]
        counts = [each for each in taken.counts if each.name in known]
        if not uses and not counts:
            return
        try:
            key_file.record(self._path, uses, counts, self._wall())
            self._told = False
        except GatewayError as error:
            if not self._told:
                log.warning("the times of last use are lost: %s", error.message)
            self._told = True

    # ---- the file

    def _with_use(self, key: KeyInfo) -> KeyInfo:
        used = self._used.get(key.name)
        return key if used is None else replace(key, last_used=used[0], user_agent=used[1])

    def _change(self, change: Callable[[Keys], Keys], by: WayIn | None = None) -> None:
        def checked_change(before: Keys) -> Keys:
            after = change(before)
            if by is not None:
                by.check((*self._fixed, *before), (*self._fixed, *after))
            return after

        with self._changing:
            keys = key_file.change(self._path, checked_change)
            self._take(keys, UNKNOWN)  # not what the file is now: another process may have changed it since

    def _take(self, keys: Keys, seen: key_file.Identity | None) -> None:
        for gone in {each.name for each in self._stored} - {each.name for each in keys}:
            self.meters.forget(gone)
            self._used.pop(gone, None)
            self._unwritten.discard(gone)
        self._stored, self._identity = keys, seen
        self._table = KeyTable((*self._fixed, *keys, *self._run))
        self._had_keys = self._had_keys or bool(keys)

    def _look(self) -> None:
        """Read the file again if it changed. To be called once in LOOK_EVERY seconds."""
        self._look_at = self._clock() + LOOK_EVERY
        seen = key_file.identity(self._path)
        if seen != self._identity:
            self._identity = seen  # also if it cannot be used: said once, not twice a second
            try:
                self._take(key_file.read(self._path), seen)
            except Overloaded:
                self._identity = UNKNOWN
            except GatewayError as error:
                log.warning("the key file changed, but the keys stay as they were: %s", error)


def _named(keys: Keys, name: str) -> KeyInfo:
    for key in keys:
        if key.name == name:
            return key
    elsewhere = name in RESERVED
    hint = "its key stands in api_key (GATEWAY_API_KEY): change it there" if elsewhere else "lanhaven keys ls"
    raise NotFound(f"There is no key named {name}.", hint=hint)
