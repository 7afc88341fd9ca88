"""What no file of the project may hold, whatever its kind."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from tests.house.source import Finding

# Pattern -> what to do. The patterns are written so that this file does not break its own rules.
FORBIDDEN: Mapping[str, str] = MappingProxyType(
    {
        r"(?<![\w.])(?:py)pi\.(?:org|python\.org)": "name the package, not a registry: people use mirrors",
        r"py(?:thon)hosted\.org": "name the package, not a registry: people use mirrors",
        r"registry\.(?:npm)js\.(?:org|com)|registry\.(?:yarn)pkg\.com": "lock without addresses (npm has a setting)",
        r"(?:deb|security)\.(?:debian)\.org|(?:proxy)\.golang\.org|(?:crates)\.io\b": "name the package only",
        r"(?<![\w.~-])/(?:work)/": "a path of one machine: make it relative or a setting",
        r"\.\./(?:shared)\b": "reaches out of the project: what it needs, it has itself",
        r"(?i)\b(?:fa)rm\b": "a word of the place where this is built, not of the project",
        r"\b(?:TO)DO\b|\b(?:FIX)ME\b": "do it, or write down what is missing in CHANGELOG.md or an issue",
    }
)


def forbidden_texts(texts: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """Addresses and paths of one machine, and notes of things not done."""
    joined = re.compile("|".join(f"(?:{pattern.removeprefix('(?i)')})" for pattern in FORBIDDEN), re.IGNORECASE)
    for path, text in texts:
        if not joined.search(text):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            for pattern, advice in FORBIDDEN.items():
                if match := re.search(pattern, line):
                    yield Finding(path, number, f"{match[0]}: {advice}")
