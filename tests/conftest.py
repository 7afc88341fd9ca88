"""What all tests share: the asyncio backend, and the two packed models, brought the way a user's are."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from lanhaven import packed
from lanhaven.config.environ import environment
from lanhaven.config.places import data_dir
from lanhaven.errors import GatewayError
from tests.scheduling import scheduler, slow_first

# A busy machine is slow, and that is no failure: Hypothesis' default limit of 200 ms an example would say so.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# Engines of several processes share the processors here, with all else. Threads that spin at their barriers take time
# from those they wait for: measured with two threads on two busy cores, a third more CPU and half as long again.
os.environ.setdefault("GOMP_SPINCOUNT", "0")

pytest_xdist_make_scheduler = pytest.hookimpl(optionalhook=True)(scheduler)


def _bring(name: str) -> Path:
    return packed.fetch(name, data_dir(), lambda stage, done, total: None, environment())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow_first(items)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch before the first test: a download may last longer than a test may. Where it fails, the fixture says so."""
    items = [item for item in session.items if isinstance(item, pytest.Function)]
    wanted = {name for item in items for name in item.fixturenames} & packed.PACKED.keys()
    if not session.config.getoption("collectonly"):
        for name in wanted:
            with suppress(GatewayError):
                _bring(name)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """GGUF file of a chat model: 30 layers, context 8192, no tools in its template."""
    return _bring("smollm2")


@pytest.fixture(scope="session")
def minilm() -> Path:
    """GGUF file of an embedding model: 384 numbers, mean pooling, context 512."""
    return _bring("minilm")


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The loop that the server runs on."""
    return "asyncio", {"use_uvloop": sys.platform != "win32"}
