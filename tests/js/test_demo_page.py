"""The page to try a model on, in a real browser, end to end."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.house_process import HouseProcess, until
from tests.js.conftest import KEY

pytestmark = pytest.mark.req("S3-40")


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that complains of nothing."""
    context = browser.new_context()
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if "Content Security" in line.text else None)
    yield page
    context.close()
    assert complaints == []


def ask(page: Page, model: str, question: str) -> None:
    page.get_by_label("Model").select_option(model)
    page.get_by_label("Your question").fill(question)
    page.get_by_role("button", name="Send").click()


def test_a_question_is_answered(page: Page, open_house: HouseProcess) -> None:
    page.goto(f"{open_house.url}/ai/lmstudio/demo")
    ask(page, "alpha", "hello from the page")
    expect(page.get_by_role("status")).to_have_text(re.compile("^Done: [0-9]+ tokens"))
    expect(page.get_by_label("Answer")).to_contain_text("hello from the page")


def test_stop_ends_the_work(page: Page, open_house: HouseProcess) -> None:
    page.goto(f"{open_house.url}/ai/lmstudio/demo")
    ask(page, "slow", "count")
    expect(page.get_by_label("Answer")).not_to_be_empty()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("status")).to_have_text(re.compile("^It failed: "))
    until(lambda: not any(each["busy"] for each in open_house.loaded().values()), "the model is free")


def test_a_failure_is_told(page: Page, open_house: HouseProcess) -> None:
    page.goto(f"{open_house.url}/ai/lmstudio/demo")
    ask(page, "broken", "hello")
    expect(page.get_by_role("status")).to_contain_text("blk.7")
    expect(page.get_by_role("button", name="Send")).to_be_enabled()


def test_a_server_with_keys_asks_for_one(page: Page, keyed: HouseProcess) -> None:
    page.goto(f"{keyed.url}/ai/lmstudio/demo")
    expect(page.get_by_role("status")).to_have_text("This server needs a key.")
    page.get_by_label("Key").fill(KEY)
    page.get_by_label("Key").press("Tab")
    ask(page, "alpha", "with a key")
    expect(page.get_by_label("Answer")).to_contain_text("with a key")
