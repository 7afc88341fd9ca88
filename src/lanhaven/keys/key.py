"""What a key is: its name, its digest, and what it is good for."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from lanhaven.config import addresses
from lanhaven.errors import InvalidRequest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
RESERVED = frozenset({"settings"})
MOST_ENTRIES = 100  # models, or networks, of one key
LONGEST_PATTERN = 512


class KeyScope(StrEnum):
    """What a key is good for."""

    INFERENCE = "inference"
    ADMIN = "admin"
    DEBUG = "debug"


ALL_SCOPES = frozenset(KeyScope)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a key may ask for within any minute, and within any day; None: as much as it likes."""

    requests_per_minute: int | None = None
    requests_per_day: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None

    @property
    def of_tokens(self) -> bool:
        """Whether tokens are limited."""
        return self.tokens_per_minute is not None or self.tokens_per_day is not None

    def said(self) -> dict[str, int]:
        """The limits that there are."""
        return {name: value for name, value in asdict(self).items() if value is not None}


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Terms:
    """What bounds a key besides its scopes.

    models: keys, aliases, or patterns of them (`qwen*`); (): every model. networks: where it is good, e.g.
    192.168.1.0/24; (): everywhere. expires: seconds since the epoch; None: never.
    """

    models: tuple[str, ...] = ()
    expires: float | None = None
    networks: tuple[str, ...] = ()
    limits: Limits = UNLIMITED


@dataclass(frozen=True, slots=True)
class OldKey:
    """The key that was rotated: still good until then (seconds since the epoch)."""

    digest: bytes
    until: float


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key, without what would let anybody use it. Times are seconds since the epoch; None = never."""

    name: str
    scopes: frozenset[KeyScope]
    digest: bytes  # SHA-256 of the key
    prefix: str = ""  # its first characters, to tell keys apart
    created: float | None = None
    last_used: float | None = None
    user_agent: str | None = None  # of the program that used it last
    source: str = "file"  # "file", "settings" (GATEWAY_API_KEY), "run" (valid while this server runs)
    terms: Terms = Terms()
    old: OldKey | None = None

    def __repr__(self) -> str:
        return f"KeyInfo({self.name}, {'+'.join(sorted(self.scopes))}, {self.prefix}...)"

    def expired(self, now: float) -> bool:
        """Whether its time is over at `now`, in seconds since the epoch."""
        return self.terms.expires is not None and self.terms.expires <= now


def moment(text: str) -> float:
    """Seconds since the epoch of an ISO 8601 time (UTC where it names no zone), or of the end of a day. ValueError."""
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return (when + timedelta(days=1) if len(text) == len("2026-12-31") else when).timestamp()


def check_name(name: str) -> None:
    """InvalidRequest unless a key may be called so."""
    if not _NAME.fullmatch(name) or name in RESERVED:
        raise InvalidRequest(
            "A key's name has up to 64 letters, digits, and . _ @ - and begins with a letter or digit.", param="name"
        )


def check_scopes(scopes: frozenset[KeyScope]) -> None:
    """InvalidRequest without any."""
    if not scopes:
        raise InvalidRequest("A key needs at least one scope: inference, admin, debug.", param="scopes")


def checked(terms: Terms, now: float, before: Terms | None = None) -> Terms:
    """The terms with their networks in plain spelling. InvalidRequest for what cannot be meant. before: what they
    are now; a key that has expired may keep its end."""
    renewed = before is None or terms.expires != before.expires
    if renewed and terms.expires is not None and terms.expires <= now:
        raise InvalidRequest("The key would have expired already.", param="expires")
    for each in terms.models:
        if not each.strip() or len(each) > LONGEST_PATTERN or not each.isprintable():
            raise InvalidRequest(f"{each[:40]!r} is no name of a model, and no pattern of one.", param="models")
    if max(len(terms.models), len(terms.networks)) > MOST_ENTRIES:
        raise InvalidRequest(f"A key takes {MOST_ENTRIES} models and networks at most.", param="models")
    for name, amount in terms.limits.said().items():
        if amount < 1:
            raise InvalidRequest("A limit is 1 or more; to stop a key, revoke it.", param=name)
    try:
        return replace(terms, networks=addresses.networks(terms.networks))
    except ValueError as error:
        raise InvalidRequest(str(error), param="networks") from None
