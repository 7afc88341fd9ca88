"""The processes that read images, started once for all tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from lanhaven.config import engine_environment
from lanhaven.engines.interpreter import module_command, module_environment
from lanhaven.media.workers import WorkerPlan, Workers
from lanhaven.server.images import WORKER


def plan_of(module: str) -> WorkerPlan:
    """How a process that reads images is started."""
    return WorkerPlan(module_command(module), module_environment(engine_environment({})))


@pytest.fixture(scope="module")
async def workers(anyio_backend: tuple[str, dict[str, Any]]) -> AsyncIterator[Workers]:
    workers = Workers(plan_of(WORKER))
    yield workers
    await workers.aclose()
