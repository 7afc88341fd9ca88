"""A real server and a real browser for the tests of the page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.house_process import HouseProcess, running
from tests.js.node import chromium
from tests.ui.pages import FLAGS

PATIENCE = 30_000  # ms for a page to show something; Playwright's own 5 s pass on a busy machine
MODELS = """\
default_model: alpha
models:
  - {id: alpha, provider: mock, enabled: true, aliases: [first]}
  - {id: slow, provider: mock, enabled: true, config: {answer: count, tokens: 1000, interval_ms: 20}}
  - {id: broken, provider: mock, enabled: true, config: {fail_load: "tensor 'blk.7' is missing"}}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """For one file: Playwright's loop runs as long, and async tests of the next one could not run theirs."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseProcess]:
    """`lanhaven up` on scripted models, without a key, as on one's own machine."""
    with running(tmp_path_factory.mktemp("house"), MODELS, "--provider", "mock") as house:
        yield house
