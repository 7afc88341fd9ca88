"""The playground's requests as programs, which run; and its place on a server that needs a key."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.house_process import HouseProcess, running
from tests.js.node import environment, node
from tests.ui.chat import answers, ask, box, figures
from tests.ui.conftest import MODELS
from tests.ui.pages import accessible, fits, opened, picture

KEY = "sk-test-0123456789abcdef0123456789abcdef"
QUESTION = 'it\'s "me", $HOME \\ `id` é 🦊'
INTERPRETERS = {"curl": ["sh", "-s"], "Python": [sys.executable, "-"], "JavaScript": ["--input-type=module", "-"]}


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseProcess]:
    """A server that needs a key."""
    with running(tmp_path_factory.mktemp("keyed"), MODELS, "--provider", "mock", LANHAVEN_API_KEY=KEY) as house:
        yield house


def codes(page: Page) -> dict[str, str]:
    """The programs that the page shows, by language."""
    shown = {}
    page.get_by_role("button", name="Code", exact=True).click()
    for language in INTERPRETERS:
        page.get_by_role("button", name=language, exact=True).click()
        shown[language] = page.get_by_label("Code", exact=True).inner_text()
    return shown


def run(language: str, program: str, **settings: str) -> str:
    """What the model says to this program."""
    words = INTERPRETERS[language]
    command = [node(), *words] if language == "JavaScript" else words
    done = subprocess.run(
        command, input=program, env=environment(**settings), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout if language != "curl" else "".join(map(content, done.stdout.split("\n\n")))


def content(frame: str) -> str:
    """The text in one frame of a stream."""
    if not frame.startswith("data: {"):
        return ""
    choices = json.loads(frame.removeprefix("data: "))["choices"]
    return choices[0]["delta"].get("content", "") if choices else ""


def test_the_code_of_a_request_runs(browser: Browser, house: HouseProcess) -> None:
    with opened(browser, house.url) as page:
        page.get_by_role("button", name="Settings").click()
        page.get_by_label("System prompt").fill("Repeat.")
        page.get_by_label("Top K").fill("5")
        page.get_by_label("Stop at").fill("never")
        box(page).fill(QUESTION)
        assert {language: run(language, program) for language, program in codes(page).items()} == dict.fromkeys(
            INTERPRETERS, QUESTION
        )
        accessible(page)
        fits(page, 360, 768, 3840)
        picture(page, "playground-code")


@pytest.mark.req("S3-40")
def test_the_page_to_try_it_on_is_here_and_asks_for_the_key(browser: Browser, keyed: HouseProcess) -> None:
    with opened(browser, keyed.url, "/ai/lmstudio/demo") as page:
        page.get_by_label("API key").fill(KEY)
        page.get_by_role("button", name="Sign in").click()
        ask(page, "with a key", "alpha")
        expect(answers(page)).to_contain_text("with a key")
        expect(figures(page)).to_contain_text("tokens")
        for language, program in codes(page).items():
            assert KEY not in program
            assert ["with", "a", "key"][-1] in run(language, program, LANHAVEN_API_KEY=KEY)


@pytest.mark.req("S3-40")
def test_a_conversation_outlives_a_session_that_ends_and_goes_with_who_signs_out(
    browser: Browser, keyed: HouseProcess
) -> None:
    with opened(browser, keyed.url) as page:
        page.get_by_label("API key").fill(KEY)
        page.get_by_role("button", name="Sign in").click()
        ask(page, "before", "alpha")
        expect(figures(page)).to_have_count(1)
        page.context.clear_cookies()
        ask(page, "after")
        page.get_by_label("API key").fill(KEY)
        page.get_by_role("button", name="Sign in").click()
        expect(answers(page).first).to_contain_text("before")
        page.get_by_role("button", name="Try again").click()
        expect(answers(page).nth(1)).to_contain_text("after")
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("API key").fill(KEY)
        page.get_by_role("button", name="Sign in").click()
        expect(box(page)).to_be_visible()
        expect(answers(page)).to_have_count(0)


def test_a_bounded_key_sees_its_models_and_is_told_its_limit(browser: Browser, keyed: HouseProcess) -> None:
    bounds = {"models": ["alpha"], "limits": {"requestsPerMinute": 1}}
    body = {"name": "guest", "scopes": ["inference"], **bounds}
    key = keyed.http.post("/admin/keys", json=body, headers={"x-api-key": KEY}).json()["key"]
    with opened(browser, keyed.url) as page:
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_label("Model", exact=True)).to_have_value("alpha")
        expect(page.get_by_label("Model", exact=True).locator("option")).to_have_count(1)
        expect(page.get_by_role("link", name="Connect an app")).to_have_count(0)
        ask(page, "first")
        expect(figures(page)).to_have_count(1)
        ask(page, "second")
        expect(page.get_by_role("alert")).to_contain_text("guest")
        expect(page.get_by_role("button", name="Try again")).to_be_visible()
        accessible(page)
        picture(page, "playground-limit")
