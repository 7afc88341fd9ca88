"""Real servers for the JavaScript tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.house_process import HouseProcess, running
from tests.js.node import chromium

KEY = "sk-test-0123456789abcdef0123456789abcdef"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
MODELS = """\
default_model: alpha
models:
  - {id: alpha, provider: mock, enabled: true}
  - {id: slow, provider: mock, enabled: true, config: {answer: count, tokens: 1000, interval_ms: 20}}
  - {id: fragile, provider: mock, enabled: true, config: {answer: count, tokens: 5, crash_after: 1}}
  - {id: broken, provider: mock, enabled: true, config: {fail_load: "tensor 'blk.7' is missing"}}
"""


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseProcess]:
    """`lanhaven up --provider mock` behind a key."""
    with running(tmp_path_factory.mktemp("keyed"), MODELS, "--provider", "mock", LANHAVEN_API_KEY=KEY) as house:
        yield house


@pytest.fixture(scope="module")
def open_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseProcess]:
    """The same without a key, as on one's own machine."""
    with running(tmp_path_factory.mktemp("open"), MODELS, "--provider", "mock") as house:
        yield house


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        browser.close()
