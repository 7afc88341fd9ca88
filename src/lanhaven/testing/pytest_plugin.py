"""The fixture `mock_lmstudio`: a fresh MockLMStudio for each test that asks for it. In conftest.py:

    pytest_plugins = ["lanhaven.testing.pytest_plugin"]

No entry point brings it in by itself: who does not ask for it pays nothing. For models of one's own, mark the test (or
the module) with `@pytest.mark.mock_lmstudio("qwen3-4b", MockModel("e5", kind="embedding"))`; keywords are those of
MockLMStudio.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lanhaven.testing.lmstudio import MockLMStudio

MARK = "mock_lmstudio(*models, **settings): the models and settings of this test's MockLMStudio"


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", MARK)


@pytest.fixture
def mock_lmstudio(request: pytest.FixtureRequest) -> Iterator[MockLMStudio]:
    """A running MockLMStudio, ended after the test."""
    mark = request.node.get_closest_marker("mock_lmstudio")
    models, settings = (mark.args, mark.kwargs) if mark is not None else ((), {})
    with MockLMStudio(*models, **settings) as studio:
        yield studio
