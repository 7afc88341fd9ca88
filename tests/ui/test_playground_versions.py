"""A conversation that is worked on for long: versions of its questions and answers, hundreds of turns."""

from __future__ import annotations

import json

from playwright.sync_api import Browser, Locator, Page, expect

from tests.house_process import HouseProcess
from tests.ui.chat import answers, ask, figures, script
from tests.ui.pages import accessible, fits, opened

TURNS = 200


def asked(page: Page, *questions: str) -> None:
    """One after the other, each answered by its own words."""
    for place, question in enumerate(questions, 1):
        ask(page, question)
        expect(figures(page)).to_have_count(place)


def edited(page: Page, place: int, question: str) -> None:
    page.get_by_role("button", name="Edit", exact=True).nth(place).click()
    page.get_by_label("Edit the question").fill(question)
    page.keyboard.press("Enter")
    expect(figures(page)).to_have_count(place + 1)


def versions(page: Page) -> Locator:
    """Of the first turn that has several."""
    return page.get_by_role("group", name="Versions").first


def height(shown: Locator) -> float:
    box = shown.bounding_box()
    assert box is not None
    return box["height"]


def test_what_an_edit_or_another_answer_replaces_is_a_version_to_go_back_to(
    browser: Browser, house: HouseProcess
) -> None:
    with opened(browser, house.url) as page:
        asked(page, "one", "two", "three")
        edited(page, 1, "deux")
        expect(versions(page)).to_contain_text("2 of 2")
        page.get_by_role("button", name="Answer again").click()
        expect(versions(page)).to_contain_text("3 of 3")
        expect(figures(page)).to_have_count(2)
        back = versions(page).get_by_role("button", name="The version before")
        back.press("Enter")
        back.press("Enter")
        expect(back).to_be_focused()
        expect(answers(page)).to_have_count(3)
        expect(answers(page).nth(2)).to_contain_text("three")
        expect(versions(page)).to_contain_text("1 of 3")
        accessible(page)
        fits(page, 360)
        page.reload()
        expect(answers(page).nth(2)).to_contain_text("three")
        versions(page).get_by_role("button", name="The version after").click()
        expect(answers(page)).to_have_count(2)
        expect(answers(page).nth(1)).to_contain_text("deux")
        sent = script(page)
        ask(page, "four")
        expect(figures(page)).to_have_count(3)
        assert [each["content"] for each in sent[0]["messages"]] == ["one", "one", "deux", "deux", "four"]


def test_an_attempt_that_brought_nothing_is_no_version(browser: Browser, house: HouseProcess) -> None:
    with opened(browser, house.url) as page:
        script(page, status=500)
        ask(page, "hello")
        expect(page.get_by_role("alert")).to_be_visible()
        script(page)
        page.get_by_role("button", name="Try again").click()
        expect(figures(page)).to_have_count(1)
        expect(versions(page)).to_have_count(0)


def test_a_reader_stays_where_he_is_when_a_turn_is_taken_away(browser: Browser, house: HouseProcess) -> None:
    with opened(browser, house.url, viewport={"width": 900, "height": 420}) as page:
        asked(page, "one", "two", "three", "four")
        thread = page.get_by_label("Conversation")
        thread.evaluate("each => each.scrollTo(0, 0)")
        expect(page.get_by_role("button", name="To the end")).to_be_visible()
        page.get_by_role("button", name="Delete this turn").first.click()
        page.get_by_role("button", name="Delete it").click()
        expect(answers(page)).to_have_count(3)
        expect(answers(page).first).to_be_in_viewport()


def test_hundreds_of_turns_are_there_from_the_newest_on(browser: Browser, house: HouseProcess) -> None:
    step = {"model": "alpha", "stage": "done", "text": "Some *words*.\n\n- and\n- a list", "reasoning": "", "calls": []}
    turns = [{"question": f"question {number}", "pictures": [], "columns": [[step]]} for number in range(TURNS)]
    kept = json.dumps({"models": ["alpha"], "settings": {}, "draft": "", "turns": turns})
    with opened(browser, house.url, "/livez") as page:
        page.evaluate("kept => sessionStorage.setItem('lanhaven.playground', kept)", kept)
        page.goto(house.url)
        expect(page.get_by_text(f"question {TURNS - 1}", exact=True).last).to_be_in_viewport()
        expect(answers(page)).to_have_count(TURNS)
        expect(answers(page).last).to_be_in_viewport()
        expect(page.get_by_role("button", name="To the end")).to_be_hidden()


def test_an_answer_that_a_reload_cuts_off_was_stopped_and_has_not_failed(browser: Browser, house: HouseProcess) -> None:
    with opened(browser, house.url) as page:
        ask(page, "count", "slow")
        expect(answers(page)).to_contain_text("tok3")
        page.get_by_role("link", name="Models", exact=True).click()  # it goes on behind another screen
        page.reload()
        page.go_back()
        expect(figures(page)).to_contain_text("stopped")
        expect(answers(page)).to_contain_text("tok3")
        expect(page.get_by_role("alert")).to_have_count(0)


def test_a_long_question_is_folded(browser: Browser, house: HouseProcess) -> None:
    with opened(browser, house.url) as page:
        script(page, text="well")
        ask(page, "line\n" * 200 + "last line")
        expect(figures(page)).to_have_count(1)
        question = page.get_by_text("last line").last
        assert height(question) < 400
        accessible(page)
        page.get_by_role("button", name="Show all").click()
        assert height(question) > 4000
        page.get_by_role("button", name="Show less").click()
