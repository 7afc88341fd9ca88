"""Models that are on the disk already, into models.yaml: folders, the caches of other programs. Nothing is copied."""

from __future__ import annotations

from lanhaven.importer.found import Found, LeftOut, Root, Scan, Store
from lanhaven.importer.look import Limits
from lanhaven.importer.overrides import known_keys, read_overrides
from lanhaven.importer.profiles import Profile
from lanhaven.importer.scanning import scan
from lanhaven.importer.stores import known_stores
from lanhaven.importer.writing import Imported, Wishes, preview, write

__all__ = [
    "Found",
    "Imported",
    "LeftOut",
    "Limits",
    "Profile",
    "Root",
    "Scan",
    "Store",
    "Wishes",
    "known_keys",
    "known_stores",
    "preview",
    "read_overrides",
    "scan",
    "write",
]
