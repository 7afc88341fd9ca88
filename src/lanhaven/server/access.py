"""What a path needs: which scope of key, and whether anybody may ask. Decided on the decoded path, like the routes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lanhaven.config.published import NAMES
from lanhaven.errors import InvalidRequest
from lanhaven.keys.key import KeyScope

REMEMBERED = 1024  # paths whose needs are cached

# Prefixes, whole segments. What changes everybody's models needs the admin scope in every dialect.
NEEDS: tuple[tuple[str, KeyScope], ...] = (
    ("/admin", KeyScope.ADMIN),
    ("/v1/admin", KeyScope.ADMIN),
    ("/debug", KeyScope.DEBUG),
    ("/v1/debug", KeyScope.DEBUG),
    ("/metrics", KeyScope.DEBUG),
    ("/ui/link", KeyScope.ADMIN),
    ("/api/v1/models/load", KeyScope.ADMIN),
    ("/api/v1/models/unload", KeyScope.ADMIN),
    ("/api/v1/models/download", KeyScope.ADMIN),
    ("/api/pull", KeyScope.ADMIN),
    ("/api/push", KeyScope.ADMIN),
    ("/api/create", KeyScope.ADMIN),
    ("/api/copy", KeyScope.ADMIN),
    ("/api/delete", KeyScope.ADMIN),
    ("/api/blobs", KeyScope.ADMIN),
)
# LM Studio's clients look for a server without a key, and take any refusal for "not there".
PROBES = frozenset({"/livez", "/readyz", "/favicon.ico", "/lmstudio-greeting", "/lms-status"})
# Nothing secret is in the page and its files; what it asks the server for needs a key, or a session.
PAGES = frozenset({"/", "/ai/lmstudio/demo"})
SIGN_IN = "/ui/session"
# What editors read to check models.yaml and config.yaml; it says nothing of this server.
SCHEMAS = frozenset(f"/schema/{name}.json" for name in NAMES)
# The own authority's certificate: what a device needs before it can trust the connection that a key goes over.
AUTHORITY = frozenset({"/ca.crt"})
PUBLIC = PROBES | PAGES | SCHEMAS | AUTHORITY
HEALTH = frozenset({"/health"})

# Two spellings of one path must never meet two rules (F-108).
_TRICKS = re.compile(r"//|/\.{1,2}(?:/|$)|[\\\x00-\x1f\x7f]")
# A model key may hold a slash, and client libraries encode it: GET /v1/models/qwen%2Fqwen3-4b.
_NAME_FOLLOWS = re.compile(rb"/models/[^/]")


@dataclass(frozen=True, slots=True)
class Access:
    """scope: what a key must be good for; None = any key. public: no key is asked for.

    guarded: no foreign web page may change anything here. json_only: and what changes something must say it is JSON,
    which a browser sends to another origin only after asking. In our own API alone: Ollama's manual shows curl without.
    """

    scope: KeyScope | None
    public: bool = False
    guarded: bool = False
    json_only: bool = False


class AccessRules:
    """Path -> Access, remembered."""

    def __init__(self, *, health_is_public: bool = True, public: frozenset[str] = frozenset()) -> None:
        self._public = PUBLIC | public | (HEALTH if health_is_public else frozenset())
        self._known: dict[bytes, Access] = {}

    def of(self, scope: Mapping[str, Any]) -> Access:
        """What this request's path needs. InvalidRequest for a spelling that could be read in two ways."""
        raw: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogatepass")
        known = self._known.get(raw)
        if known is None:
            refuse_tricks(raw, scope["path"])
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._known[raw] = self._decide(scope["path"])
        return known

    def _decide(self, path: str) -> Access:
        if path in self._public:
            return Access(None, public=True)
        if path == SIGN_IN:
            return Access(None, public=True, guarded=True, json_only=True)
        if path in HEALTH | PUBLIC:
            return Access(None)
        for prefix, needed in NEEDS:
            if path == prefix or path.startswith(prefix + "/"):
                return Access(needed, guarded=True, json_only=not prefix.startswith("/api/"))
        return Access(KeyScope.INFERENCE)


def refuse_tricks(raw: bytes, path: str) -> None:
    """InvalidRequest for a path that names a place in an unusual way."""
    lowered = raw.lower()
    hidden = lowered.find(b"%2f")
    if _TRICKS.search(path) or b"%5c" in lowered or (hidden >= 0 and not _NAME_FOLLOWS.search(lowered, 0, hidden)):
        raise InvalidRequest("The path of the request is not in its plain spelling.")
