"""Which tests stay in one process when several run them, those that share servers; and in which order they begin."""

from __future__ import annotations

import re
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

SLOW = (
    "docs",
    "e2e",
    "conformance",
    "js",
    "ui",
    "schema",
    "mlx",
    "providers",
)  # folders whose tests run engines and programs
_DOCUMENT = re.compile(r"\[((?:README|docs/[\w-]+)\.md):\d")


class ByServer(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Those of one file; of the documents' blocks, those of one document (tests/docs/homes.py)."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, name = nodeid.partition("::")
        document = _DOCUMENT.search(name)
        return file if document is None else f"{file}::{document[1]}"


def scheduler(config: Any, log: Any) -> LoadScopeScheduling:
    """For pytest_xdist_make_scheduler."""
    return ByServer(config, log)


def slow_first(items: list[pytest.Item]) -> None:
    """The slow ones begin, so that at the end no process waits for another's last."""
    items.sort(key=lambda item: item.nodeid.split("/")[1] not in SLOW)
