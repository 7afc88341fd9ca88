"""How a browser gets in, and out again: by a key, by a link that works once, until the key is taken away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.house_process import HouseProcess, running
from tests.ui.chat import answers, ask, figures
from tests.ui.conftest import MODELS
from tests.ui.pages import accessible, fits, heading, opened, picture

KEY = "sk-test-0123456789abcdef0123456789abcdef"
HEADERS = {"x-api-key": KEY}


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseProcess]:
    """A server that asks for a key."""
    models = MODELS + "  - {id: late, provider: mock, enabled: true, config: {load_seconds: 2}}\n"
    with running(tmp_path_factory.mktemp("keyed"), models, "--provider", "mock", LANHAVEN_API_KEY=KEY) as house:
        house.http.headers.update(HEADERS)
        yield house


def sign_in(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()


def made(house: HouseProcess, name: str, *scopes: str) -> str:
    """A new key."""
    reply = house.http.post("/admin/keys", json={"name": name, "scopes": scopes})
    assert reply.status_code == 201, reply.text
    key: str = reply.json()["key"]
    return key


def link(house: HouseProcess) -> str:
    told: dict[str, Any] = house.http.post("/ui/link", json={}).json()
    return str(told["url"]).removeprefix(house.url)


def test_a_key_opens_the_page_where_one_wanted_to_go(browser: Browser, keyed: HouseProcess) -> None:
    with opened(browser, keyed.url, "/#/charts") as page:
        expect(page.get_by_label("API key")).to_be_focused()
        sign_in(page, "sk-lan-not-this-one")
        expect(page.get_by_role("alert")).to_contain_text("This server does not know that key.")
        sign_in(page, KEY)
        heading(page, "Charts")
        page.reload()
        heading(page, "Charts")
        assert KEY not in page.url
        kept = page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])")
        assert KEY not in kept
        assert "lanhaven_session" not in kept, "no script reads the cookie"


def test_a_link_works_once(browser: Browser, keyed: HouseProcess) -> None:
    path = link(keyed)
    with opened(browser, keyed.url, path) as page:
        expect(page.get_by_role("navigation", name="Screens")).to_be_visible()
        assert "token" not in page.url
    with opened(browser, keyed.url, path) as page:
        expect(page.get_by_text("That link was used already")).to_be_visible()
        sign_in(page, KEY)
        expect(page.get_by_role("navigation", name="Screens")).to_be_visible()
        assert "signin" not in page.url


def test_who_signs_out_is_out(browser: Browser, keyed: HouseProcess) -> None:
    with opened(browser, keyed.url, link(keyed)) as page:
        page.get_by_role("button", name=re.compile("^Sign out")).click()
        expect(page.get_by_label("API key")).to_be_visible()
        page.reload()
        expect(page.get_by_label("API key")).to_be_visible()


def test_a_key_sees_the_screens_of_its_scopes(browser: Browser, keyed: HouseProcess) -> None:
    key = made(keyed, "guest", "inference")
    with opened(browser, keyed.url, "/#/keys") as page:
        sign_in(page, key)
        expect(page.get_by_text("The key guest is not good for this screen")).to_be_visible()
        names = page.get_by_role("navigation", name="Screens").get_by_role("listitem").all_inner_texts()
        assert [each.strip() for each in names] == ["Playground"]


def test_a_session_ends_with_its_key(browser: Browser, keyed: HouseProcess) -> None:
    key = made(keyed, "leaver", "inference", "debug", "admin")
    with opened(browser, keyed.url, "/#/logs") as page:
        sign_in(page, key)
        heading(page, "Logs")
        assert keyed.http.delete("/admin/keys/leaver").status_code == 204
        page.evaluate("location.hash = '#/charts'")
        expect(page.get_by_label("API key")).to_be_visible()
        expect(page.get_by_text("Your session has ended")).to_be_visible()


def test_a_key_that_only_asks_sees_how_far_a_load_is(browser: Browser, keyed: HouseProcess) -> None:
    with opened(browser, keyed.url) as page:
        sign_in(page, made(keyed, "asker", "inference"))
        ask(page, "hello", "late")
        expect(page.get_by_role("progressbar", name="Loading late")).to_be_visible()
        expect(answers(page)).to_contain_text("hello")
        expect(page.get_by_label("Model", exact=True).locator("optgroup").first).to_contain_text("late")
        keyed.http.delete("/admin/keys/asker")
        ask(page, "once more")
        expect(page.get_by_text("Your session has ended")).to_be_visible()
        sign_in(page, made(keyed, "asker", "inference"))
        expect(page.get_by_role("alert")).to_contain_text("The session had ended before this was asked.")
        page.get_by_role("button", name="Try again").click()
        expect(figures(page)).to_have_count(2)


def test_a_key_without_models_is_told_so(browser: Browser, keyed: HouseProcess) -> None:
    reply = keyed.http.post("/admin/keys", json={"name": "barred", "scopes": ["inference"], "models": ["none-such"]})
    with opened(browser, keyed.url) as page:
        sign_in(page, reply.json()["key"])
        expect(page.get_by_role("heading", name="No model for this key")).to_be_visible()
        page.get_by_role("textbox", name="Message").fill("hello")
        expect(page.get_by_role("button", name="Send", exact=True)).to_be_disabled()


def test_the_way_in_is_accessible_and_fits(browser: Browser, keyed: HouseProcess) -> None:
    with opened(browser, keyed.url) as page:
        expect(page.get_by_label("API key")).to_be_visible()
        accessible(page)
        fits(page, 320, 360, 768, 3840)
        picture(page, "sign-in")
