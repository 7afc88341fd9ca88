"""A real server for programs that read the document."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.house_process import HouseProcess, running
from tests.schema.houses import MODELS


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseProcess]:
    """`lanhaven up --provider mock` with the models of the examples."""
    with running(tmp_path_factory.mktemp("schema"), MODELS, "--provider", "mock") as house:
        yield house
