"""The screen Keys: the first key closes the server and this browser stays; a key made here is used, bounded, revoked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.house_process import HouseProcess, running
from tests.streams import said
from tests.ui.pages import accessible, fits, heading, opened, picture

MODELS = """\
default_model: alpha
models:
  - {id: alpha, provider: mock}
  - {id: "<img src=x onerror=window.pwned=1>", provider: mock}
"""
KEY = "sk-test-0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseProcess]:
    """A server with a key of its settings, which the tests sign in with."""
    with running(tmp_path_factory.mktemp("keys"), MODELS, "--provider", "mock", LANHAVEN_API_KEY=KEY) as house:
        yield house


@contextmanager
def signed_in(browser: Browser, house: HouseProcess, key: str = KEY) -> Iterator[Page]:
    with opened(browser, house.url, "/#/keys") as page:
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Sign in").click()
        heading(page, "Keys")
        expect(page.get_by_role("table")).to_be_visible()
        yield page


@pytest.fixture
def page(browser: Browser, house: HouseProcess) -> Iterator[Page]:
    with signed_in(browser, house) as page:
        yield page


def row(page: Page, name: str) -> Locator:
    return page.locator("tbody").filter(has=page.get_by_text(name, exact=True))


def form(page: Page, name: str) -> Locator:
    """The drawer for a new key, with a name filled in."""
    page.get_by_role("button", name="New key").click()
    drawer = page.get_by_role("dialog", name="New key")
    drawer.get_by_label("Name").fill(name)
    return drawer


def made(page: Page, name: str) -> str:
    """Press the button; the key that is shown."""
    page.get_by_role("button", name="Make the key").click()
    shown = page.get_by_role("region", name="The new key")
    expect(shown.get_by_role("heading", name=name)).to_be_visible()
    return shown.locator("code").inner_text()


def ask(house: HouseProcess, key: str, model: str = "alpha") -> httpx2.Response:
    body = {"model": model, "messages": said("hello")}
    return httpx2.post(f"{house.url}/v1/chat/completions", json=body, headers={"X-API-Key": key}, trust_env=False)


def test_the_first_key_closes_the_server_and_this_browser_stays(browser: Browser, tmp_path: Path) -> None:
    with (
        running(tmp_path, MODELS, "--provider", "mock") as house,
        opened(browser, house.url, "/#/keys") as page,
    ):
        expect(page.get_by_role("heading", name="Nobody needs a key now")).to_be_visible()
        accessible(page)
        page.get_by_role("button", name="Make the first key").click()
        drawer = page.get_by_role("dialog", name="New key")
        expect(drawer.get_by_text("The first key closes this server")).to_be_visible()
        drawer.get_by_label("Name").fill("ada")
        key = made(page, "ada")
        expect(row(page, "ada")).to_contain_text("inference")
        assert ask(house, "").status_code == 401
        assert ask(house, key).status_code == 200
        expect(row(page, "ada")).to_contain_text("1 request in 24 h")
        page.reload()
        expect(row(page, "ada")).to_be_visible()
        expect(page.get_by_role("region", name="The new key")).to_have_count(0)
        assert key not in page.content()


def test_a_key_is_made_used_bounded_and_revoked(page: Page, house: HouseProcess) -> None:
    drawer = form(page, "bounded")
    drawer.get_by_label("Models", exact=True).fill("al*")
    drawer.get_by_role("button", name="Allow").click()
    drawer.get_by_label("Requests a minute").fill("2")
    drawer.get_by_label("Tokens a day").fill("1000000")
    drawer.get_by_label("Expires").select_option("in 30 days")
    key = made(page, "bounded")
    assert key.startswith("sk-")
    assert [ask(house, key).status_code for _ in range(3)] == [200, 200, 429]
    assert ask(house, key, "<img src=x onerror=window.pwned=1>").status_code in (403, 404, 429)
    mine = row(page, "bounded")
    expect(mine).to_contain_text("2 / 2")
    expect(mine.get_by_role("meter", name="requests/min of bounded")).to_have_attribute("aria-valuenow", "2")
    expect(mine).to_contain_text("python-httpx2")
    expect(mine).to_contain_text("in 30 d")
    expect(mine).to_contain_text("al*")
    page.get_by_role("button", name="Revoke bounded").click()
    mine.get_by_role("button", name="Keep").click()
    assert ask(house, key).status_code == 429
    page.get_by_role("button", name="Revoke bounded").click()
    mine.get_by_role("button", name="Revoke it").click()
    expect(page.get_by_text("bounded is revoked")).to_be_visible()
    expect(mine).to_have_count(0)
    expect(page.get_by_role("region", name="The new key")).to_have_count(0)
    assert ask(house, key).status_code == 401


def test_a_key_is_edited_and_rotated(page: Page, house: HouseProcess) -> None:
    drawer = form(page, "team")
    drawer.get_by_label("Networks").fill("127.0.0.0/8\nnonsense")
    page.get_by_role("button", name="Make the key").click()
    expect(drawer.get_by_role("alert")).to_contain_text("nonsense")
    drawer.get_by_label("Networks").fill("127.0.0.0/8")
    old = made(page, "team")
    page.get_by_role("button", name="Edit team").click()
    drawer = page.get_by_role("dialog", name="Key team")
    drawer.get_by_label("debug").check()
    drawer.get_by_label("Requests a day").fill("500")
    drawer.get_by_role("button", name="Save").click()
    expect(row(page, "team")).to_contain_text("debug")
    expect(row(page, "team")).to_contain_text("0 / 500")
    expect(row(page, "team")).to_contain_text("in 127.0.0.0/8")
    page.get_by_role("button", name="Rotate team").click()
    drawer = page.get_by_role("dialog", name="Rotate team")
    drawer.get_by_label("The old one stays good").select_option("for an hour")
    drawer.get_by_role("button", name="Rotate").click()
    expect(drawer).to_have_count(0)
    shown = page.get_by_role("region", name="The new key")
    expect(shown).to_contain_text("The one before stays good until")
    new = shown.locator("code").inner_text()
    assert new != old
    assert [ask(house, each).status_code for each in (old, new)] == [200, 200]


def test_the_new_key_goes_to_connect_and_not_into_the_address(page: Page) -> None:
    form(page, "app")
    key = made(page, "app")
    page.get_by_role("link", name="Connect an app with it").click()
    heading(page, "Connect")
    assert key not in page.url
    page.get_by_role("button", name="OpenAI for Python").click()
    expect(page.get_by_role("dialog")).to_contain_text(key)


def test_ones_own_key_is_revoked_only_after_a_warning(browser: Browser, page: Page, house: HouseProcess) -> None:
    drawer = form(page, "boss")
    drawer.get_by_label("admin").check()
    key = made(page, "boss")
    with signed_in(browser, house, key) as own:
        expect(row(own, "boss")).to_contain_text("yours")
        own.get_by_role("button", name="Revoke boss").click()
        own.get_by_role("button", name="Revoke it: this signs you out").click()
        expect(own.get_by_label("API key")).to_be_visible()
    expect(row(page, "boss")).to_have_count(0)


@pytest.mark.req("F-152")
def test_names_of_models_are_text(page: Page) -> None:
    name = "<img src=x onerror=window.pwned=1>"
    drawer = form(page, "hostile")
    drawer.get_by_label("Models", exact=True).fill(name)
    drawer.get_by_role("button", name="Allow").click()
    expect(drawer.get_by_role("listitem")).to_contain_text(name)
    made(page, "hostile")
    expect(row(page, "hostile")).to_contain_text(name)
    assert page.evaluate("window.pwned") is None


def test_the_screen_is_for_everybody_at_every_width(page: Page) -> None:
    drawer = form(page, "shown")
    drawer.get_by_label("Requests a minute").fill("60")
    accessible(page)
    fits(page, 360)
    made(page, "shown")
    page.get_by_role("button", name="Revoke shown").click()
    expect(row(page, "shown").get_by_role("button", name="Revoke it")).to_be_focused()
    accessible(page)
    fits(page, 360, 768, 3840)
    picture(page, "keys")
    row(page, "shown").get_by_role("button", name="Keep").click()
    page.get_by_role("button", name="Rotate shown").click()
    accessible(page)
