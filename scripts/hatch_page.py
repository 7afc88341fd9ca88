"""A wheel holds the dashboard or is not made: pip hides a build's warnings, so that nobody would see it missing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGE = "src/lanhaven/server/ui/index.html"
WITHOUT = "LANHAVEN_BUILD_WITHOUT_PAGE"


class PageHook(BuildHookInterface[Any]):
    """Looks; `scripts/page` builds. An editable install takes the page from the checkout whenever it is there."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before anything is packed."""
        if version == "editable" or os.environ.get(WITHOUT) or Path(self.root, PAGE).is_file():
            return
        self.app.abort(
            f"The dashboard is not built: {PAGE} is missing. scripts/page builds it (it needs Node.js 20.19 or newer "
            f"and npm); {WITHOUT}=1 packs everything else without it."
        )
