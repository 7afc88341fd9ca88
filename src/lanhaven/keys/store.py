"""Keys: made, checked, revoked. Only SHA-256 digests are kept; no slow hash is needed for 256 random bits."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import string
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from lanhaven.errors import GatewayError, InvalidRequest, NotFound
from lanhaven.keys import key_file
from lanhaven.keys.key_file import ALL_SCOPES, KeyFileError, KeyInfo, KeyScope

if TYPE_CHECKING:
    from lanhaven.config import Settings

__all__ = ["ALL_SCOPES", "KeyFileError", "KeyInfo", "KeyScope", "KeyStore", "weakness"]

log = logging.getLogger("lanhaven.keys")

FILE_NAME = "keys.json"
MARK = "sk-lan-"
STUDIO_MARK = "sk-lm-"  # of the form that LM Studio's clients take: sk-lm-xxxxxxxx:yyyyyyyyyyyyyyyyyyyy
SHOWN = len(MARK) + 4
LOOK_EVERY = 0.5  # seconds between two looks at the file (F-154 promises 1 s)

SAMPLES = frozenset(
    {"change-me-please", "your-api-key-here", "your-secret-key", "your-secret-api-key", "replace-this-with-a-key"}
)
SHORTEST_STRONG = 16

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")


class KeyStore:
    """Named keys in a file, the one of the settings, and those of this run. Not for use by several threads.

    `verify` sees changes of the file (by `lanhaven keys` in another process) within LOOK_EVERY seconds. A file that is
    damaged while the server runs changes nothing; one that is deleted revokes its keys.
    """

    def __init__(self, path: Path, *, api_key: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._fixed: tuple[KeyInfo, ...] = ()
        self._run: tuple[KeyInfo, ...] = ()
        if api_key:
            self._fixed = (KeyInfo("settings", ALL_SCOPES, digest_of(api_key), source="settings"),)
        self._used: dict[str, float] = {}  # name -> this process's clock
        self._identity = key_file.identity(path)
        self._stored = key_file.read(path)
        self._look_at = clock() + LOOK_EVERY
        self._had_keys = bool(self._fixed or self._stored)

    @classmethod
    def from_settings(cls, settings: Settings) -> KeyStore:
        """The store of this installation. KeyFileError."""
        given = settings.api_key.get_secret_value() if settings.api_key else None
        return cls(settings.config_dir / FILE_NAME, api_key=given)

    def __repr__(self) -> str:
        return f"KeyStore({', '.join(key.name for key in self.list()) or 'empty'})"

    @property
    def required(self) -> bool:
        """Whether requests need a key. Once there was one it stays so until the server starts anew: revoking the last
        key must not open the door."""
        self._look()
        return self._had_keys

    def list(self) -> tuple[KeyInfo, ...]:
        """All keys but those of this run, with the times of last use that are known."""
        self._look()
        return self._with_use((*self._fixed, *self._stored))

    def add(self, name: str, scopes: Iterable[KeyScope] = ALL_SCOPES, *, lmstudio: bool = False) -> str:
        """Make a key; it is returned this once. InvalidRequest if the name is bad or taken; StorageFull.

        lmstudio: of the form that LM Studio's clients take as an API token; good everywhere else too.
        """
        if not _NAME.fullmatch(name) or name == "settings":
            raise InvalidRequest(
                "A key's name has up to 64 letters, digits, and . _ @ - and begins with a letter or digit.",
                param="name",
            )
        chosen = frozenset(KeyScope(scope) for scope in scopes)
        if not chosen:
            raise InvalidRequest("A key needs at least one scope: inference, admin, debug.", param="scopes")
        secret, key = _make(name, chosen, lmstudio=lmstudio)

        def with_it(keys: tuple[KeyInfo, ...]) -> tuple[KeyInfo, ...]:
            if any(each.name == name for each in keys):
                raise InvalidRequest(
                    f"There is a key named {name} already.", param="name", hint=f"lanhaven keys rotate {name}"
                )
            return (*keys, key)

        self._change(with_it)
        return secret

    def revoke(self, name: str) -> None:
        """Make a key worthless. NotFound; StorageFull."""

        def without_it(keys: tuple[KeyInfo, ...]) -> tuple[KeyInfo, ...]:
            gone = _named(keys, name)
            return tuple(each for each in keys if each is not gone)

        self._change(without_it)

    def rotate(self, name: str) -> str:
        """A new key in place of an old one, which is worthless at once; returned this once. NotFound; StorageFull."""
        made: list[str] = []

        def renewed(keys: tuple[KeyInfo, ...]) -> tuple[KeyInfo, ...]:
            old = _named(keys, name)
            secret, key = _make(name, old.scopes, lmstudio=(old.prefix or "").startswith(STUDIO_MARK))
            made.append(secret)
            return tuple(key if each is old else each for each in keys)

        self._change(renewed)
        return made[0]

    def trust(self, token: str) -> None:
        """Take `token` as a key with all scopes until this process ends: for the command line of the same user. It does
        not count for `required`."""
        self._run = (*self._run, KeyInfo("this run", ALL_SCOPES, digest_of(token), source="run"))

    def named(self, name: str) -> KeyInfo | None:
        """The key of this name, those of this run included; None if there is none, or no longer."""
        self._look()
        return next((key for key in (*self._fixed, *self._stored, *self._run) if key.name == name), None)

    def verify(self, key: str | bytes) -> KeyInfo | None:
        """Whose key this is; None if nobody's."""
        return self.verify_digest(digest_of(key))

    def verify_digest(self, digest: bytes) -> KeyInfo | None:
        """As `verify`, for the SHA-256 of a key. Looks at every key, whichever matches (F-144)."""
        now = self._look()
        found: KeyInfo | None = None
        for key in (*self._fixed, *self._stored, *self._run):
            if hmac.compare_digest(key.digest, digest):
                found = key
        if found is not None:
            self._used[found.name] = now
        return found

    def flush(self) -> None:
        """Write the times of last use. Called rarely, at exit; a lost one does no harm, so a full disk is only told."""
        try:
            if any(key.name in self._used for key in self._stored):
                self._change(self._with_use)
        except GatewayError as error:
            log.warning("the times of last use are lost: %s", error.message)

    def _with_use(self, keys: tuple[KeyInfo, ...]) -> tuple[KeyInfo, ...]:
        now, clock = datetime.now(UTC), self._clock()
        return tuple(
            replace(key, last_used=_stamp(now - timedelta(seconds=clock - self._used[key.name])))
            if key.name in self._used
            else key
            for key in keys
        )

    def _change(self, change: Callable[[tuple[KeyInfo, ...]], tuple[KeyInfo, ...]]) -> None:
        with key_file.locked(self._path):
            keys = change(key_file.read(self._path))
            key_file.write(self._path, keys)
            self._take(keys, key_file.identity(self._path))

    def _take(self, keys: tuple[KeyInfo, ...], seen: key_file.Identity | None) -> None:
        self._stored, self._identity = keys, seen
        self._had_keys = self._had_keys or bool(keys)

    def _look(self) -> float:
        """Read the file again if it changed, at most once in LOOK_EVERY seconds. Returns the time."""
        now = self._clock()
        if now < self._look_at:
            return now
        self._look_at = now + LOOK_EVERY
        seen = key_file.identity(self._path)
        if seen != self._identity:
            self._identity = seen  # also if it cannot be used: said once, not twice a second
            try:
                self._take(key_file.read(self._path), seen)
            except KeyFileError as error:
                log.warning("the key file changed, but the keys stay as they were: %s", error)
        return now


def digest_of(key: str | bytes) -> bytes:
    """SHA-256. Of bytes, because comparing text raises on what is not ASCII (a 500 where a 401 was due)."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key).digest()


def weakness(key: str) -> str | None:
    """Why a key that somebody chose could be guessed; None if it could not."""
    if key.lower() in SAMPLES:
        return "is a sample from a document"
    if len(key) < SHORTEST_STRONG:
        return f"is shorter than {SHORTEST_STRONG} characters"
    return "repeats too few characters" if len(set(key)) < 6 else None


def _stamp(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def _make(name: str, scopes: frozenset[KeyScope], *, lmstudio: bool = False) -> tuple[str, KeyInfo]:
    secret = f"{STUDIO_MARK}{_letters(8)}:{_letters(20)}" if lmstudio else MARK + secrets.token_urlsafe(32)
    return secret, KeyInfo(name, scopes, digest_of(secret), prefix=secret[:SHOWN], created=_stamp(datetime.now(UTC)))


def _letters(count: int) -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(count))


def _named(keys: tuple[KeyInfo, ...], name: str) -> KeyInfo:
    for key in keys:
        if key.name == name:
            return key
    raise NotFound(f"There is no key named {name}.", hint="lanhaven keys ls")
