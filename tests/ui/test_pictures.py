"""The pictures of the documents, taken of the real page; `scripts/screenshots` keeps them, by LANHAVEN_PICTURES."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.house_process import HouseProcess
from tests.ui.chat import answers, ask, figures
from tests.ui.pages import heading, opened, picture
from tests.ui.staged import KEYS, REAL, staged


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Iterator[HouseProcess]:
    with staged(tmp_path_factory.mktemp("staged"), smollm2) as house:
        for name in KEYS:
            limits = {"requestsPerMinute": 60, "tokensPerDay": 2_000_000} if name != "anna" else {}
            scopes = ["inference", "debug", "admin"] if name == "anna" else ["inference"]
            body = {"name": name, "scopes": scopes, "limits": limits}
            key = house.http.post("/admin/keys", json=body).json()["key"]
            for model in (REAL, "qwen3-8b", "gemma-3-12b"):
                asked = house.http.post(
                    "/v1/chat/completions",
                    json={
                        "model": model,
                        "max_tokens": 40,
                        "stream": True,
                        "messages": [{"role": "user", "content": "Hello"}],
                    },
                    headers={"x-api-key": key, "user-agent": KEYS[name]},
                )
                assert asked.status_code == 200
        yield house


@pytest.fixture
def page(browser: Browser, house: HouseProcess) -> Iterator[Page]:
    """Signed in, as `lanhaven up` opens it."""
    link = house.http.post("/ui/link", json={}).json()["url"]
    with opened(browser, house.url, link.removeprefix(house.url)) as page:
        expect(page.get_by_role("navigation", name="Screens")).to_be_visible()
        yield page


def go(page: Page, place: str, title: str) -> None:
    page.evaluate("place => { location.hash = place }", place)
    heading(page, title)


def test_playground(page: Page) -> None:
    ask(page, "Write two sentences about a lighthouse.", REAL)
    expect(figures(page)).to_have_count(1, timeout=120_000)
    expect(answers(page).last).not_to_be_empty()
    picture(page, "playground")


def test_models(page: Page, house: HouseProcess) -> None:
    for model in ("qwen3-8b", "gemma-3-12b"):
        house.load(model)
    go(page, "#/models", "Models")
    expect(page.get_by_text("gemma-3-12b").first).to_be_visible()
    picture(page, "models")
    page.get_by_role("link", name=REAL, exact=True).click()
    expect(page.get_by_role("dialog", name=f"Load {REAL}")).to_contain_text("fits")
    picture(page, "models-load")


def test_activity(page: Page) -> None:
    go(page, "#/activity", "Activity")
    rows = page.get_by_role("row").filter(has_text="/v1/messages")
    expect(rows.first).to_be_visible()
    picture(page, "activity")
    rows.first.click()
    expect(page.get_by_role("dialog", name="Request")).to_be_visible()
    picture(page, "activity-request")


def test_charts(page: Page) -> None:
    go(page, "#/charts?window=1h", "Charts")
    expect(page.get_by_role("img", name="Requests per second")).to_be_visible()
    picture(page, "charts")


def test_logs(page: Page) -> None:
    go(page, f"#/logs?source={REAL}", "Logs")
    expect(page.get_by_role("log").locator(".line").first).to_be_visible()
    picture(page, "logs")


def test_keys(page: Page) -> None:
    go(page, "#/keys", "Keys")
    expect(page.get_by_role("row").filter(has_text="home")).to_be_visible()
    picture(page, "keys")


def test_connect(page: Page) -> None:
    go(page, "#/connect?model=qwen3-8b", "Connect")
    expect(page.get_by_role("button", name="Claude Code")).to_be_visible()
    picture(page, "connect")
    page.get_by_role("button", name="OpenAI for Python").click()
    page.get_by_role("button", name="Make a key for this app").click()
    page.get_by_role("button", name="Test now").click()
    expect(page.get_by_text("All of it works.")).to_be_visible()
    picture(page, "connect-app")


def test_sign_in(browser: Browser, house: HouseProcess) -> None:
    with opened(browser, house.url) as page:
        expect(page.get_by_label("API key")).to_be_visible()
        picture(page, "sign-in")
