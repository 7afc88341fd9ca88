"""The screen Charts: numbers, drawings and tables of what the server really did."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.house_process import HouseProcess, until
from tests.ui.pages import accessible, choose, fits, heading, opened

ASKED, FAILED = 8, 2
TITLES = (
    "Requests per second",
    "Time to first token",
    "Tokens per second",
    "Queue",
    "Memory of models",
    "Failed and cancelled",
)


@pytest.fixture(scope="module", autouse=True)
def traffic(house: HouseProcess) -> None:
    """Requests that went well and that did not, in the store when the tests begin."""
    for number in range(ASKED):
        assert house.chat("one two three four", model="alpha", stream=True, seed=number).status_code == 200
    for _ in range(FAILED):
        assert house.chat("hello", model="broken").status_code >= 500
    until(lambda: sum(house.get("/debug/history/series?window=15m")["requests"]) == ASKED + FAILED, "the store has all")


@pytest.fixture
def page(browser: Browser, house: HouseProcess) -> Iterator[Page]:
    with opened(browser, house.url, "/#/charts?window=15m", accept_downloads=True) as page:
        heading(page, "Charts")
        expect(page.get_by_role("region", name=TITLES[0])).to_be_visible()
        yield page


def number(page: Page, name: str) -> Locator:
    """One of the big numbers."""
    return page.locator("dl > div", has_text=name).locator("dd")


def test_what_happened_is_told_in_numbers_and_drawn(page: Page) -> None:
    expect(number(page, "Requests")).to_have_text(str(ASKED + FAILED))
    expect(number(page, "Failed")).to_have_text("20 %")
    for title in TITLES:
        expect(page.get_by_role("img", name=title)).to_be_visible()
        assert page.get_by_role("img", name=title).locator("canvas").count() == 1
    told = page.get_by_role("img", name=TITLES[1]).get_attribute("aria-label") or ""
    assert "p50: last" in told


def test_each_chart_has_its_table_and_the_table_its_file(page: Page, tmp_path: Path) -> None:
    for title in TITLES:
        page.get_by_role("button", name=f"{title} as a table").click()
        expect(page.get_by_role("table", name=f"{title}, last 15 minutes")).to_be_visible()
    failures = page.get_by_role("table", name="Failed and cancelled")
    with page.expect_download() as waiting:
        failures.get_by_role("button", name="Save as CSV").click()
    assert waiting.value.suggested_filename == "lanhaven-errors-15m.csv"
    waiting.value.save_as(tmp_path / "errors.csv")
    rows = list(csv.DictReader((tmp_path / "errors.csv").read_text().splitlines()))
    assert sum(int(row["failed"]) for row in rows) == FAILED
    assert sum(int(row["cancelled"]) for row in rows) == 0
    page.get_by_role("button", name=f"{TITLES[0]} as a chart").click()
    expect(page.get_by_role("img", name=TITLES[0])).to_be_visible()


def test_all_charts_share_one_crosshair(page: Page) -> None:
    plots = page.locator(".u-over")
    plots.nth(1).hover(position={"x": 40, "y": 30})
    first = page.locator(".u-cursor-x").nth(1).evaluate("line => line.style.transform")
    assert first
    assert page.locator(".u-cursor-x").nth(0).evaluate("line => line.style.transform") == first
    expect(page.get_by_role("region", name=TITLES[0]).get_by_text("completed")).to_have_text("completed 0")


def test_a_model_is_chosen_and_a_silent_window_says_what_will_show(page: Page) -> None:
    page.get_by_label("Model", exact=True).select_option("alpha")
    expect(number(page, "Requests")).to_have_text(str(ASKED))
    assert "model=alpha" in page.url
    page.get_by_role("button", name="last 7 days").click()
    expect(page.get_by_role("button", name="last 7 days")).to_have_attribute("aria-pressed", "true")
    assert "window=7d" in page.url
    page.evaluate("location.hash = '#/charts?window=1h&model=nobody'")
    expect(page.get_by_text("No request in the last hour.")).to_be_visible()
    expect(number(page, "Failed")).to_have_text("–")
    expect(page.get_by_text("Nothing measured").first).to_be_visible()


def test_usage_by_model_and_by_key(page: Page) -> None:
    row = page.get_by_role("table", name="Usage by model").get_by_role("row", name="alpha")
    expect(row.get_by_role("cell").first).to_have_text(str(ASKED))
    expect(page.get_by_role("table", name="Usage by key").get_by_role("row", name="without a key")).to_be_visible()


def test_it_refreshes_by_itself_and_keeps_its_place(browser: Browser, house: HouseProcess) -> None:
    with opened(browser, house.url, "/#/logs") as page:
        heading(page, "Logs")
        page.clock.install()
        page.evaluate("location.hash = '#/charts?window=15m&model=slow'")
        expect(number(page, "Requests")).to_have_text("0")
        page.evaluate("scrollTo(0, 300)")
        assert house.chat("hello", model="slow", max_tokens=2).status_code == 200
        asked = "/debug/history/series?window=15m&model=slow"
        until(lambda: sum(house.get(asked)["requests"]) == 1, "the store has it")
        page.clock.fast_forward(11_000)
        expect(number(page, "Requests")).to_have_text("1")
        assert page.evaluate("scrollY") == 300


def test_it_is_drawn_in_the_theme_and_at_the_width_that_there_is(page: Page) -> None:
    canvas = page.locator("canvas").first
    drawn = "canvas => canvas.toDataURL()"
    choose(page, "light")
    light = canvas.evaluate(drawn)
    choose(page, "dark")
    until(lambda: canvas.evaluate(drawn) != light, "drawn again in the dark")
    page.set_viewport_size({"width": 500, "height": 800})
    until(lambda: (box := canvas.bounding_box()) is not None and box["width"] < 480, "drawn again, narrower")


def test_it_is_accessible_and_fits(page: Page) -> None:
    accessible(page)
    page.get_by_role("button", name=f"{TITLES[0]} as a table").click()
    accessible(page)
    fits(page, 360, 768, 3840)
