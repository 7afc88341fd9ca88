"""/docs and /redoc in a real browser: they show every route, break no rule of their own, and ask nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from tests.house_process import HouseProcess

pytestmark = pytest.mark.req("S4-27", "F-152")


@pytest.fixture
def page(browser: Browser, open_house: HouseProcess) -> Iterator[Page]:
    """A page that complains of nothing and asks nobody but its server."""
    context = browser.new_context()
    page = context.new_page()
    complaints: list[str] = []
    strangers: list[str] = []

    def asked(request: Request) -> None:
        if not request.url.startswith((f"{open_house.url}/", "data:", "blob:")):
            strangers.append(request.url)

    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    page.on("request", asked)
    yield page
    context.close()
    assert complaints == []
    assert strangers == []


def summaries(house: HouseProcess) -> dict[str, str]:
    """Operation -> summary."""
    paths = house.get("/openapi.json")["paths"]
    return {each["operationId"]: each["summary"] for methods in paths.values() for each in methods.values()}


def test_docs_shows_the_routes_and_opens_one(page: Page, open_house: HouseProcess) -> None:
    page.goto(f"{open_house.url}/docs")
    told = summaries(open_house)
    assert len(told) > 60
    expect(page.locator("details")).to_have_count(len(told))
    page.locator("#chat summary").click()
    expect(page.locator("#chat")).to_contain_text("max_completion_tokens")
    expect(page.locator("#chat pre")).to_contain_text(f"curl {open_house.url}/v1/chat/completions")
    background = page.evaluate("getComputedStyle(document.querySelector('#chat pre')).backgroundColor")
    assert background != "rgba(0, 0, 0, 0)"  # the style is there


def test_redoc_shows_the_routes_and_finds_one(page: Page, open_house: HouseProcess) -> None:
    page.goto(f"{open_house.url}/redoc")
    expect(page.locator("h1").first).to_contain_text("LanHaven", timeout=30_000)
    told = summaries(open_house)
    shown = page.evaluate("[...document.querySelectorAll('[id^=\"operation/\"]')].map((each) => each.id)")
    assert {name.removeprefix("operation/") for name in shown} == set(told)
    page.locator("[role=search] input").fill("relevance")
    expect(page.locator("[role=search]")).to_contain_text(told["rerank"])
    width = page.evaluate("document.querySelector('.menu-content').getBoundingClientRect().width")
    assert 200 < width < 400  # the style is there


def test_the_pages_let_no_script_in(open_house: HouseProcess) -> None:
    for path in ("/docs", "/redoc"):
        policy = open_house.http.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
