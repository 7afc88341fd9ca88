"""Which tests stay in one process, when several run them: those that share servers."""

from __future__ import annotations

import re
from typing import Any

from xdist.scheduler import LoadScopeScheduling

_DOCUMENT = re.compile(r"\[((?:README|docs/[\w-]+)\.md):\d")


class ByServer(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Those of one file; of the documents' blocks, those of one document, which has a server of its own."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, name = nodeid.partition("::")
        document = _DOCUMENT.search(name)
        return file if document is None else f"{file}::{document[1]}"


def scheduler(config: Any, log: Any) -> LoadScopeScheduling:
    """For pytest_xdist_make_scheduler."""
    return ByServer(config, log)
