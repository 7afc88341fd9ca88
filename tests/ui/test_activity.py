"""The screen Activity: requests as they come, found, held, saved; and one request looked at."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.house_process import HouseProcess, running
from tests.ui.chat import answers, box, figures
from tests.ui.pages import accessible, fits, heading, opened, picture

MODELS = """\
default_model: alpha
models:
  - {id: alpha, provider: mock, enabled: true}
  - {id: slow, provider: mock, enabled: true, config: {answer: count, tokens: 1000, interval_ms: 20}}
  - {id: late, provider: mock, enabled: true, config: {load_seconds: 0.3, answer: count, tokens: 20, interval_ms: 5}}
  - {id: broken, provider: mock, enabled: true, config: {fail_load: "tensor 'blk.7' is missing"}}
"""
EVIL = "<img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseProcess]:
    """A server that has had a few requests: one that loaded its model, three that failed, forty that went well."""
    with running(tmp_path_factory.mktemp("activity"), MODELS, "--provider", "mock") as house:
        house.answer("load it", model="late", temperature=0.5, stream=False)
        house.chat("hello", model="broken")
        house.chat("hello", model="missing")
        house.chat("hello", model=EVIL)
        for at in range(40):
            house.answer(f"number {at}", model="alpha")
        yield house


@pytest.fixture
def page(browser: Browser, house: HouseProcess) -> Iterator[Page]:
    with opened(browser, house.url, "/#/activity", accept_downloads=True) as page:
        heading(page, "Activity")
        expect(rows(page)).not_to_have_count(0)
        yield page
        assert "owned" not in page.title()


def rows(page: Page) -> Locator:
    """The rows in the page, below the head."""
    return page.get_by_role("grid").locator(".line")


def count(page: Page) -> int:
    """How many rows there are, in the page or not."""
    return int(page.get_by_role("grid").get_attribute("aria-rowcount") or "1") - 1


def test_requests_appear_run_and_end(page: Page, house: HouseProcess) -> None:
    with house.stream("count", model="slow"):
        running = rows(page).filter(has_text="running")
        expect(running).to_contain_text("slow")
        expect(running).to_contain_text(re.compile(r"\d m?s$"))
    expect(rows(page).filter(has_text="slow").filter(has_text="left").first).to_be_visible()
    expect(rows(page).filter(has_text="slow is loaded").first).to_be_visible()
    page.get_by_label("Loads and unloads").uncheck()
    expect(rows(page).filter(has_text="slow is loaded")).to_have_count(0)
    house.unload("slow")
    accessible(page)
    fits(page, 360, 768, 3840)
    picture(page, "activity")


@pytest.mark.req("F-152")
def test_rows_are_found_and_the_address_says_how(page: Page) -> None:
    page.get_by_label("Status").select_option("failed")
    expect(rows(page).filter(has_text="done")).to_have_count(0)
    expect(rows(page).filter(has_text=EVIL).first).to_be_visible()
    assert page.get_by_role("grid").locator("img").count() == 0
    page.get_by_role("searchbox").fill("BLK.7")
    expect(rows(page)).to_have_count(1)
    expect(page).to_have_url(re.compile(r"q=BLK\.7&status=failed"))
    page.reload()
    expect(rows(page)).to_have_count(1)
    page.get_by_role("searchbox").fill("nowhere to be found")
    expect(page.get_by_role("main")).to_contain_text("Nothing fits")
    accessible(page)


def test_what_the_list_has_not_is_found_in_the_history(page: Page) -> None:
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("searchbox").fill("BLK.7")
    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text("tensor 'blk.7' is missing")
    rows(page).click()
    expect(page.get_by_role("dialog", name="Request")).to_contain_text("load_failed")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Clear").click()
    expect(rows(page)).to_have_count(0)


def test_a_browser_whose_clock_is_off_tells_how_long_a_request_runs(page: Page, house: HouseProcess) -> None:
    page.clock.set_system_time(datetime.now(UTC) + timedelta(hours=2))
    page.reload()
    with house.stream("count", model="slow"):
        expect(rows(page).filter(has_text="running")).to_contain_text(re.compile(r"\D\d m?s$"))
    house.unload("slow")


def test_a_pause_counts_what_waits(page: Page, house: HouseProcess) -> None:
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_role("main")).to_contain_text("Nothing yet")
    house.answer("news", model="alpha")
    expect(rows(page).filter(has_text="done")).to_have_count(1)
    before = count(page)
    page.get_by_role("button", name="Pause").click()
    house.answer("while you were away", model="alpha")
    house.answer("and again", model="alpha")
    expect(page.get_by_role("button", name="Go on")).to_contain_text("2 new")
    assert count(page) == before
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", str(before + 1 + 2))


def test_rows_are_saved_as_they_are_shown(page: Page, tmp_path: Path) -> None:
    page.get_by_label("Model").select_option("alpha")
    page.get_by_label("Loads and unloads").uncheck()
    shown = count(page)
    for name in ("CSV", "NDJSON"):
        with page.expect_download() as saved:
            page.get_by_role("button", name=name, exact=True).click()
        saved.value.save_as(tmp_path / name)
    table = list(csv.DictReader((tmp_path / "CSV").read_text().splitlines()))
    lines = [json.loads(line) for line in (tmp_path / "NDJSON").read_text().splitlines()]
    assert len(table) == len(lines) == shown
    assert {each["model"] for each in table} == {"alpha"}
    assert [each["requestId"] for each in table] == [each["requestId"] for each in lines]


def test_the_keyboard_goes_through_rows_and_requests(page: Page) -> None:
    page.get_by_label("Loads and unloads").uncheck()
    grid = page.get_by_role("grid")
    grid.focus()
    ids = [(each or "").partition("-")[2] for each in rows(page).evaluate_all("all => all.map(each => each.id)")]
    page.keyboard.press("ArrowDown")
    expect(grid).to_have_attribute("aria-activedescendant", re.compile(ids[1]))
    page.keyboard.press("End")
    expect(grid).not_to_have_attribute("aria-activedescendant", re.compile(ids[1]))
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    drawer = page.get_by_role("dialog", name="Request")
    expect(drawer).to_contain_text(ids[0])
    page.keyboard.press("ArrowRight")
    expect(drawer).to_contain_text(ids[1])
    page.keyboard.press("ArrowLeft")
    expect(drawer).to_contain_text(ids[0])
    expect(page).to_have_url(re.compile(f"#/activity/{ids[0]}"))
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(grid).to_be_focused()


def test_a_request_tells_where_its_time_went(page: Page) -> None:
    page.get_by_role("searchbox").fill("late")
    page.get_by_label("Loads and unloads").uncheck()
    rows(page).first.click()
    drawer = page.get_by_role("dialog", name="Request")
    timeline = drawer.get_by_label("Timeline")
    expect(timeline).to_contain_text("Loading the model")
    expect(timeline).to_contain_text(re.compile(r"In all\s*[\d.]+ m?s"))
    for fact in ("127.0.0.1", "python-httpx2", "/v1/chat/completions", "temperature", "0.5"):
        expect(drawer).to_contain_text(fact)
    expect(drawer).to_contain_text("Bodies are not kept")
    expect(drawer.get_by_role("button", name="Replay in the playground")).to_be_disabled()
    accessible(page)
    fits(page, 360, 768, 3840)
    picture(page, "activity-request")


def test_bodies_are_kept_on_wish_copied_and_replayed(page: Page, house: HouseProcess) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    rows(page).filter(has_text="done").first.click()
    drawer = page.get_by_role("dialog", name="Request")
    drawer.get_by_label("Keep bodies for 15 minutes").check()
    expect(page.get_by_text("Bodies of requests are kept for 15 minutes.")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Clear").click()
    house.answer("it's <b>me</b> again", temperature=0.25, model="alpha")
    rows(page).first.click()
    expect(drawer.get_by_label("Request", exact=True).last).to_contain_text("<b>me</b>")
    expect(drawer.get_by_label("Response", exact=True)).to_contain_text("<b>me</b> again")
    drawer.get_by_role("button", name="Copy as curl").click()
    expect(drawer.get_by_role("button", name="Copied")).to_be_visible()
    command: str = page.evaluate("navigator.clipboard.readText()")
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    assert "it's <b>me</b> again" in json.loads(done.stdout)["choices"][0]["message"]["content"]
    drawer.get_by_role("button", name="Replay in the playground").click()
    expect(box(page)).to_have_value("it's <b>me</b> again")
    expect(page.get_by_label("Model", exact=True)).to_have_value("alpha")
    box(page).press("Enter")
    expect(figures(page)).to_have_count(1)
    expect(answers(page)).to_contain_text("<b>me</b>")
    house.post("/admin/bodies", enabled=False)
