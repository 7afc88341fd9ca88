"""The screen Connect: cards of apps, their steps filled in, their own requests tried out, and a key made for one."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.house_process import HouseProcess, running
from tests.ui.conftest import MODELS
from tests.ui.pages import accessible, fits, heading, opened

KEY = "sk-test-0123456789abcdef0123456789abcdef"
PYTHON = "OpenAI for Python"


@pytest.fixture
def page(browser: Browser, house: HouseProcess) -> Iterator[Page]:
    with opened(browser, house.url, "/#/connect") as page:
        heading(page, "Connect")
        expect(page.get_by_role("button", name="Claude Code")).to_be_visible()
        yield page


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseProcess]:
    """A server that asks for a key."""
    with running(tmp_path_factory.mktemp("keyed"), MODELS, "--provider", "mock", LANHAVEN_API_KEY=KEY) as house:
        yield house


def card(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()
    expect(page.get_by_role("dialog", name=f"Connect {name}")).to_be_visible()


def copied(page: Page, step: str) -> str:
    """What the Copy button of a step puts on the clipboard."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("listitem").filter(has_text=step).get_by_role("button", name="Copy").click()
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text


def run(program: str, tmp_path: Path) -> str:
    """The program as a file of one's own; what it prints."""
    (tmp_path / "try.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "try.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_cards_are_found_by_what_they_are(page: Page) -> None:
    expect(page.get_by_role("heading", name="Coding agents")).to_be_visible()
    page.get_by_role("searchbox", name="Find an app").fill("openai python")
    expect(page.get_by_role("button", name=PYTHON)).to_be_visible()
    expect(page.get_by_role("heading", name="Coding agents")).to_be_hidden()
    page.get_by_role("searchbox", name="Find an app").fill("no such thing")
    expect(page.get_by_text("No app like that")).to_be_visible()


def test_a_program_runs_as_it_is_copied(page: Page, house: HouseProcess, tmp_path: Path) -> None:
    card(page, PYTHON)
    page.get_by_role("dialog").get_by_label("Model").select_option("slow")
    expect(page.get_by_role("dialog").locator("pre").filter(has_text="import")).to_contain_text('model="slow"')
    program = copied(page, "import")
    assert f"{house.url}/v1" in program
    assert run(program, tmp_path).strip()


def test_an_app_is_tried_out_with_its_own_requests(page: Page) -> None:
    card(page, "Claude Code")
    page.get_by_role("button", name="Test now").click()
    expect(page.get_by_text("All of it works.")).to_be_visible()
    expect(page.get_by_role("region", name="Test").get_by_text("worked:").first).to_be_attached()
    assert page.get_by_role("region", name="Test").get_by_text("failed:").count() == 0


def test_a_failure_is_told_in_the_servers_words(browser: Browser, house: HouseProcess) -> None:
    with opened(browser, house.url, "/#/connect?app=opencode&model=broken") as page:
        expect(page.get_by_role("dialog", name="Connect opencode")).to_be_visible()
        page.get_by_role("button", name="Test now").click()
        expect(page.get_by_text("It does not work yet.")).to_be_visible()
        expect(page.get_by_role("region", name="Test")).to_contain_text("tensor 'blk.7' is missing")


def test_a_model_that_is_too_small_is_said_before(page: Page) -> None:
    card(page, "Claude Code")
    expect(page.get_by_text("first prompt alone is about")).to_be_visible()
    expect(page.get_by_role("link", name="Load alpha")).to_have_count(0)  # it has no longer one
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page).not_to_have_url(re.compile("app="))


def test_a_key_is_made_for_the_app_and_used(browser: Browser, keyed: HouseProcess, tmp_path: Path) -> None:
    with opened(browser, keyed.url, "/#/connect") as page:
        page.get_by_label("API key").fill(KEY)
        page.get_by_role("button", name="Sign in").click()
        card(page, PYTHON)
        expect(page.get_by_text("Make or paste a key first.")).to_be_visible()
        expect(page.locator("pre").filter(has_text="import")).to_contain_text("YOUR-KEY")
        page.get_by_role("button", name="Make a key for this app").click()
        expect(page.get_by_label("Key “openai-python”")).to_have_value(re.compile("sk-lan-.+"))
        page.get_by_role("button", name="Test now").click()
        expect(page.get_by_text("All of it works.")).to_be_visible()
        program = copied(page, "import")
        made = page.get_by_label("Key “openai-python”").input_value()
        assert made not in page.url
    assert made in program
    assert run(program, tmp_path).strip()
    told = httpx2.get(f"{keyed.url}/admin/keys", headers={"x-api-key": KEY}, trust_env=False).json()["keys"]
    assert [each["scopes"] for each in told if each["name"] == "openai-python"] == [["inference"]]


def test_a_pasted_key_that_is_wrong_is_refused_and_the_session_stays(browser: Browser, keyed: HouseProcess) -> None:
    with opened(browser, keyed.url, "/#/connect") as page:
        page.get_by_label("API key").fill(KEY)
        page.get_by_role("button", name="Sign in").click()
        card(page, PYTHON)
        page.get_by_role("dialog").get_by_label("Key").fill("sk-lan-wrong")
        page.get_by_role("button", name="Test now").click()
        expect(page.get_by_text("It does not work yet.")).to_be_visible()
        expect(page.get_by_role("dialog", name=f"Connect {PYTHON}")).to_be_visible()


def test_it_is_accessible_and_fits(page: Page) -> None:
    accessible(page)
    fits(page, 360, 768, 3840)
    card(page, "Home Assistant")
    accessible(page)
    fits(page, 360, 768, 3840)
    page.set_viewport_size({"width": 360, "height": 800})
    accessible(page)  # its command is longer than the page is wide
