"""The screen Logs: what the server writes, live, filtered, held, saved, and never as markup."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.house_process import HouseProcess, running, until
from tests.ui.conftest import MODELS
from tests.ui.pages import accessible, fits, heading, opened

EVIL = "<img src=x onerror=\"document.title='owned'\">"
MANY = 400


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseProcess]:
    """A server that logs each request, and has had many: more lines than a screen holds, the last with markup in it."""
    home = tmp_path_factory.mktemp("logs")
    with running(home, MODELS, "--provider", "mock", LANHAVEN_LOG_LEVEL="debug") as house:
        for at in range(MANY):
            house.chat("hello", model=EVIL if at == MANY - 1 else f"missing-{at}")
        until(lambda: EVIL[:8] in str(house.get("/debug/logs?lines=50")["lines"]), "the log has them")
        yield house


@pytest.fixture
def page(browser: Browser, house: HouseProcess) -> Iterator[Page]:
    with opened(browser, house.url, "/#/logs", accept_downloads=True) as page:
        heading(page, "Logs")
        expect(page.get_by_role("log")).to_contain_text(EVIL)
        yield page
        assert "owned" not in page.title()


@pytest.mark.req("F-152")
def test_lines_are_text_whatever_they_hold(page: Page) -> None:
    assert page.get_by_role("log").locator("img").count() == 0


def test_it_follows_at_the_end_and_stays_where_one_reads(page: Page, house: HouseProcess) -> None:
    log = page.get_by_role("log")
    house.chat("hello", model="missing-news")
    expect(log.get_by_text("missing-news").first).to_be_visible()
    assert log.locator(".line").count() < 120, "only the lines in sight are in the page"
    log.press("Home")
    expect(page.get_by_role("button", name="To the end")).to_be_visible()
    expect(log).to_contain_text("missing-0")
    house.chat("hello", model="missing-later")
    expect(page.locator("output", has_text="line")).not_to_have_text("0 lines")
    expect(log).to_contain_text("missing-0")
    page.get_by_role("button", name="To the end").click()
    expect(log.get_by_text("missing-later").first).to_be_visible()
    expect(page.get_by_role("button", name="To the end")).to_be_hidden()


def test_lines_are_found_and_counted(page: Page) -> None:
    page.get_by_role("searchbox", name="Show lines with").fill("MISSING-7")
    expect(page.locator("output")).to_contain_text("11 of ")
    assert page.locator("mark").first.text_content() == "missing-7"
    page.get_by_label("Level").select_option("error")
    expect(page.get_by_text("No line matches.")).to_be_visible()
    page.get_by_role("searchbox", name="Show lines with").fill("")
    page.get_by_label("Level").select_option("debug")
    expect(page.get_by_role("log")).to_contain_text(EVIL)


def test_a_paused_view_holds_still_and_counts_what_waits(page: Page, house: HouseProcess) -> None:
    page.get_by_role("button", name="Pause").click()
    house.chat("hello", model="missing-meanwhile")
    expect(page.get_by_role("button", name=re.compile(r"Go on \(([2-9]|\d\d)\)"))).to_be_visible()
    expect(page.get_by_role("log")).not_to_contain_text("missing-meanwhile")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("log")).to_contain_text("missing-meanwhile")


def test_long_lines_wrap_and_nothing_is_lost(page: Page) -> None:
    page.set_viewport_size({"width": 500, "height": 800})
    page.get_by_role("button", name="Wrap").click()
    wide = page.evaluate(
        "(() => { const box = document.querySelector('[role=log]'); return box.scrollWidth - box.clientWidth })()"
    )
    assert wide <= 0
    page.get_by_role("searchbox", name="Show lines with").fill("owned")
    text = "".join(page.get_by_role("log").locator(".text").all_text_contents())
    assert EVIL in text


def test_shown_lines_are_saved_and_cleared(page: Page, tmp_path: Path) -> None:
    page.get_by_role("searchbox", name="Show lines with").fill("missing-7")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save").click()
    waiting.value.save_as(tmp_path / "server.log")
    saved = (tmp_path / "server.log").read_text().splitlines()
    assert len(saved) == 11
    assert all("missing-7" in line and line.startswith("20") for line in saved)
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("output")).to_contain_text("0 of 0 lines")


def test_each_instance_has_its_log(page: Page) -> None:
    page.get_by_label("Log of", exact=True).select_option("alpha")
    expect(page.get_by_role("log", name="Log of alpha")).to_be_visible()
    assert page.url.endswith("#/logs?source=alpha")
    page.evaluate("location.hash = '#/logs?source=nowhere'")
    expect(page.get_by_role("alert")).to_contain_text("nowhere")


def test_it_is_accessible_and_fits(page: Page) -> None:
    accessible(page)
    fits(page, 360, 768, 3840)
