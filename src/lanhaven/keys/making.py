"""New keys, and whether one that somebody chose himself could be guessed."""

from __future__ import annotations

import hashlib
import secrets
import string

MARK = "sk-lan-"
STUDIO_MARK = "sk-lm-"  # of the form that LM Studio's clients take: sk-lm-xxxxxxxx:yyyyyyyyyyyyyyyyyyyy
SHOWN = len(MARK) + 4

SAMPLES = frozenset(
    {"change-me-please", "your-api-key-here", "your-secret-key", "your-secret-api-key", "replace-this-with-a-key"}
)
SHORTEST_STRONG = 16


def new_secret(*, lmstudio: bool = False) -> str:
    """A key that nobody guesses: 256 random bits, with `lmstudio` 28 random letters and digits."""
    return f"{STUDIO_MARK}{_letters(8)}:{_letters(20)}" if lmstudio else MARK + secrets.token_urlsafe(32)


def prefix_of(secret: str) -> str:
    """Its first characters, by which people tell keys apart."""
    return secret[:SHOWN]


def is_studios(prefix: str) -> bool:
    """Whether a key that begins so has the form that LM Studio's clients take."""
    return prefix.startswith(STUDIO_MARK)


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


def _letters(count: int) -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(count))
