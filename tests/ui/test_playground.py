"""The screen Playground: chat with any model, on scripted models and on a real one."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import entry
from tests.house_process import HouseProcess, running, until
from tests.ui.chat import answers, ask, box, figures, script, without_end
from tests.ui.pages import accessible, fits, opened, picture

MODELS = """\
default_model: alpha
models:
  - {id: alpha, provider: mock, enabled: true}
  - {id: beta, provider: mock, enabled: true}
  - {id: slow, provider: mock, enabled: true, config: {answer: count, tokens: 1000, interval_ms: 20}}
  - {id: late, provider: mock, enabled: true, config: {load_seconds: 4}}
  - {id: seer, provider: mock, enabled: true, config: {kind: vlm}}
  - {id: small, provider: mock, enabled: true, config: {context_length: 12}}
  - {id: vectors, provider: mock, enabled: true, config: {kind: embedding}}
  - {id: broken, provider: mock, enabled: true, config: {fail_load: "tensor 'blk.7' is missing"}}
"""
GIVE = """([kind, name, data]) => {
  const given = new DataTransfer();
  given.items.add(new File([Uint8Array.from(atob(data), c => c.charCodeAt(0))], name, {type: "image/png"}));
  const to = document.querySelector("textarea[aria-label=Message]");
  const how = {bubbles: true, cancelable: true};
  to.dispatchEvent(kind === "paste" ? new ClipboardEvent(kind, {...how, clipboardData: given}) : new DragEvent(kind, {...how, dataTransfer: given}));
}"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseProcess]:
    with running(tmp_path_factory.mktemp("playground"), MODELS, "--provider", "mock") as house:
        yield house


@pytest.fixture
def page(browser: Browser, house: HouseProcess) -> Iterator[Page]:
    with opened(browser, house.url) as page:
        expect(page.get_by_label("Model", exact=True)).to_have_value("alpha")
        yield page


def give(page: Page, kind: str, name: str, side: int = 8) -> None:
    """Paste, or drop, a picture."""
    made = io.BytesIO()
    Image.new("RGB", (side, side), (200, 30, 30)).save(made, "PNG")
    page.evaluate(GIVE, [kind, name, base64.b64encode(made.getvalue()).decode()])


def test_the_first_visit_is_ready_to_chat(page: Page) -> None:
    expect(box(page)).to_be_focused()
    expect(page.get_by_role("link", name="Connect an app")).to_have_attribute("href", "#/connect")
    expect(page.get_by_role("link", name="Add a model")).to_have_attribute("href", "#/models")
    expect(page.get_by_text("lanhaven up --lan")).to_be_visible()
    assert "vectors" not in page.get_by_label("Model", exact=True).inner_text(), "it cannot chat"
    accessible(page)
    fits(page, 360, 768, 3840)
    picture(page, "playground-first")


def test_an_open_server_shows_how_others_come_in(browser: Browser, house: HouseProcess) -> None:
    told = {
        "open": True,
        "urls": [house.url, "http://192.168.1.20:8002"],
        "tls": False,
        "howToOpen": "lanhaven up --lan",
    }
    with opened(browser, house.url, "/docs") as page:  # tests open nothing to the LAN: what the server would say
        page.route("**/admin/lan", lambda route: route.fulfill(json=told))
        page.route(
            "**/admin/lan/qr.svg?*", lambda route: route.continue_(url=f"{house.url}/admin/lan/qr.svg?url={house.url}")
        )
        page.goto(house.url)
        expect(page.get_by_role("link", name="http://192.168.1.20:8002")).to_be_visible()
        code = page.get_by_role("img", name="QR code of http://192.168.1.20:8002")
        expect(code).to_have_js_property("complete", True)
        assert code.evaluate("image => image.naturalWidth") > 0
        accessible(page)
        fits(page, 360)


def test_a_real_model_answers_and_is_stopped(browser: Browser, tmp_path: Path, smollm2: Path) -> None:
    models = "default_model: smollm2\nmodels:\n" + entry("smollm2", smollm2, "{contextLength: 1024, slots: 1}")
    with running(tmp_path, models) as house, opened(browser, house.url) as page:
        page.get_by_role("button", name="Settings").click()
        page.get_by_label("Most tokens").fill("12")
        ask(page, "Say hello.")
        expect(figures(page)).to_contain_text(re.compile(r"tok/s.*first token.* tokens"), timeout=30_000)
        picture(page, "playground")
        page.get_by_label("Most tokens").fill("900")
        page.get_by_label("Stop at").fill("")
        page.route("**/v1/chat/completions", without_end)
        ask(page, "Tell me a very long story about a lighthouse.")
        expect(answers(page).nth(1).locator(".markdown")).not_to_be_empty(timeout=30_000)
        page.get_by_role("button", name="Stop", exact=True).click()
        expect(figures(page).nth(1)).to_contain_text("stopped")
        until(lambda: not any(each["busy"] for each in house.loaded().values()), "the model is free")


def test_a_finger_types_lines_and_sends_by_the_button(browser: Browser, house: HouseProcess) -> None:
    with opened(browser, house.url, viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True) as page:
        expect(page.get_by_label("Model", exact=True)).to_have_value("alpha")
        sent = script(page)
        box(page).fill("one")
        box(page).press("Enter")
        box(page).press_sequentially("two")
        page.get_by_role("button", name="Send", exact=True).tap()
        expect(figures(page)).to_have_count(1)
        assert sent[0]["messages"] == [{"role": "user", "content": "one\ntwo"}]


def test_escape_stops_and_what_came_stays(page: Page, house: HouseProcess) -> None:
    ask(page, "count", "slow")
    expect(answers(page)).to_contain_text("tok3")
    page.keyboard.press("Escape")
    expect(figures(page)).to_contain_text("stopped")
    expect(answers(page)).to_contain_text("tok0 tok1")
    until(lambda: not any(each["busy"] for each in house.loaded().values()), "the model is free")


def test_a_question_is_edited_answered_again_and_taken_away(page: Page) -> None:
    sent = script(page)
    ask(page, "first question")
    expect(figures(page)).to_have_count(1)
    ask(page, "second question")
    expect(figures(page)).to_have_count(2)
    assert [each["content"] for each in sent[1]["messages"]] == ["first question", "first question", "second question"]
    expect(page.get_by_role("button", name="Answer again")).to_have_count(1)  # the last: nothing is lost unasked
    page.get_by_role("button", name="Edit", exact=True).first.click()
    expect(page.get_by_text("What follows stays as another version.")).to_be_visible()
    page.get_by_label("Edit the question").fill("another first")
    page.keyboard.press("Enter")
    expect(answers(page)).to_have_count(1)
    expect(answers(page)).to_contain_text("another first")
    expect(figures(page)).to_have_count(1)
    page.get_by_label("Model", exact=True).select_option("beta")
    page.get_by_role("button", name="Answer again").click()
    expect(answers(page).get_by_role("heading")).to_have_text("beta")
    page.get_by_role("button", name="Delete this turn").click()
    page.get_by_role("button", name="Delete it").click()
    expect(answers(page)).to_have_count(0)


def test_questions_before_what_is_lost_leave_the_keyboard_where_it_was(page: Page) -> None:
    ask(page, "keep me")
    expect(figures(page)).to_have_count(1)
    page.get_by_role("button", name="Delete this turn").press("Enter")
    expect(page.get_by_role("button", name="Delete it")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Delete this turn")).to_be_focused()
    page.get_by_role("button", name="Edit", exact=True).press("Enter")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Edit", exact=True)).to_be_focused()
    page.get_by_role("button", name="Clear", exact=True).press("Enter")
    expect(page.get_by_role("button", name="Clear", exact=True)).to_be_focused()
    page.keyboard.press("Escape")
    expect(box(page)).to_be_focused()
    expect(answers(page)).to_have_count(1)


def test_a_conversation_outlives_a_reload_and_is_cleared(page: Page) -> None:
    ask(page, "remember me")
    expect(figures(page)).to_have_count(1)
    page.reload()
    expect(answers(page)).to_contain_text("remember me")
    page.get_by_role("button", name="Clear", exact=True).click()
    page.get_by_role("button", name="Keep").click()
    expect(answers(page)).to_have_count(1)
    page.get_by_role("button", name="Clear", exact=True).click()
    page.get_by_role("button", name="Clear", exact=True).click()
    expect(answers(page)).to_have_count(0)


def test_settings_reach_the_model_and_wrong_ones_are_told(page: Page) -> None:
    sent = script(page)
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("System prompt").fill("Be brief.")
    page.get_by_label("Temperature").fill("hot")
    expect(page.get_by_text("A number from 0 to 2.")).to_be_visible()
    box(page).fill("hi")
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_disabled()
    page.get_by_label("Temperature").fill("0.5")
    page.get_by_label("Top K").fill("40")
    page.get_by_label("Stop at").fill("never")
    page.get_by_role("button", name="Example: Answer as JSON").click()
    ask(page, "hi")
    expect(answers(page)).to_contain_text('"age"')
    assert sent[0]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert sent[0] | {"temperature": 0.5, "top_k": 40, "stop": ["never"]} == sent[0]
    accessible(page)
    page.get_by_role("button", name="All as the model has it").click()
    ask(page, "plain")
    expect(figures(page)).to_have_count(2)
    assert set(sent[1]) == {"model", "messages", "stream", "stream_options"}


def test_a_model_that_is_loaded_first_tells_how_far_it_is(page: Page) -> None:
    ask(page, "hello", "late")
    expect(page.get_by_role("progressbar", name="Loading late")).to_be_visible()
    expect(answers(page)).to_contain_text("Loading late")
    expect(figures(page)).to_have_count(1)
    expect(answers(page)).to_contain_text("hello")


def test_failures_are_told_in_place_with_a_way_on(page: Page) -> None:
    ask(page, "hello", "broken")
    expect(page.get_by_role("alert")).to_contain_text("blk.7")
    expect(page.get_by_role("link", name="See the models")).to_have_attribute("href", "#/models")
    page.get_by_label("Model", exact=True).select_option("alpha")
    page.get_by_role("button", name="Try again").click()
    expect(answers(page).locator(".markdown")).to_have_text("hello")
    script(page, do="error", at=2, error="out of luck")
    ask(page, "one two three four")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(answers(page).nth(1).locator(".markdown")).to_have_text("one two")
    script(page, do="fin", at=1)
    ask(page, "one two three four")
    expect(page.get_by_role("alert")).to_have_count(2)
    accessible(page)
    picture(page, "playground-failed")


def test_a_conversation_that_grew_too_long_goes_on_without_its_beginning(page: Page) -> None:
    ask(page, "one two three four", "small")
    expect(figures(page)).to_have_count(1)
    ask(page, "five six seven eight nine")
    expect(page.get_by_role("alert")).to_contain_text("maximum context length")
    page.get_by_role("button", name="Leave out the oldest turns").click()
    expect(answers(page).nth(1).locator(".markdown")).to_have_text("five six seven eight nine")


def test_pictures_are_pasted_dropped_and_taken_away(page: Page) -> None:
    give(page, "paste", "red.png")
    expect(page.get_by_text("alpha cannot see images.")).to_be_visible()
    expect(page.get_by_role("button", name="Add images")).to_be_disabled()
    page.get_by_label("Model", exact=True).select_option("seer")
    sent = script(page)
    give(page, "paste", "red.png")
    give(page, "drop", "large.png", side=2000)
    expect(page.get_by_role("img", name="large.png")).to_be_visible()
    give(page, "drop", "third.png")
    page.get_by_role("button", name="Remove third.png").click()
    ask(page, "what is it?")
    expect(answers(page)).to_contain_text("(image)")
    urls = [each["image_url"]["url"] for each in sent[0]["messages"][0]["content"] if each["type"] == "image_url"]
    sizes = [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).size for url in urls]
    assert sizes == [(8, 8), (1536, 1536)]
    accessible(page)
    page.get_by_label("Model", exact=True).select_option("alpha")
    expect(page.get_by_text("alpha cannot see the images above: they are left out.")).to_be_visible()
    ask(page, "and you?")
    expect(answers(page).nth(1).locator(".markdown")).to_have_text("and you?")


def test_tools_are_called_and_the_turn_goes_on(page: Page) -> None:
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Example: Tools").click()
    sent = script(page, tool="get_weather", arguments={"city": "Rome"})
    ask(page, "the weather in Rome?")
    call = page.get_by_label("Call of get_weather")
    expect(call).to_contain_text('"city": "Rome"')
    expect(page.get_by_role("button", name="Send the result")).to_be_disabled()
    accessible(page)
    script(page, text="It is sunny in Rome.")
    page.get_by_label("Result of get_weather").fill("sunny")
    page.get_by_role("button", name="Send the result").click()
    expect(answers(page)).to_contain_text("It is sunny in Rome.")
    sent += script(page)
    ask(page, "thanks")
    expect(figures(page)).to_have_count(2)
    assert sent[0]["tools"][0]["function"]["name"] == "get_weather"


@pytest.mark.parametrize(
    "said",
    [
        {"reasoning": "Let me think about it.", "text": "Yes."},
        {"text": "<think>\nLet me think about it.\n</think>\n\nYes."},  # an engine that does not tell them apart
    ],
)
def test_thoughts_are_folded(page: Page, said: dict[str, str]) -> None:
    script(page, **said)
    ask(page, "Is it?")
    expect(answers(page).locator(".markdown")).to_have_text("Yes.")
    thoughts = page.get_by_text("Let me think about it.")
    expect(thoughts).to_be_hidden()
    page.get_by_text("Thoughts").click()
    expect(thoughts).to_be_visible()


def test_code_in_a_list_is_copied_and_wide_tables_break_no_words(page: Page) -> None:
    wide = "| " + " | ".join(["algorithm"] * 12) + " |\n" + "| - " * 12 + "|\n"
    script(page, text=f"1. Run it:\n\n   ```sh\n   echo hello\n   ```\n\n2. See.\n\n{wide}")
    ask(page, "how?")
    expect(figures(page)).to_have_count(1)
    listed = answers(page).get_by_role("listitem").first
    expect(listed.get_by_role("figure")).to_contain_text("sh")
    expect(listed.get_by_role("button", name="Copy")).to_be_visible()
    page.set_viewport_size({"width": 360, "height": 800})
    cell = answers(page).get_by_role("columnheader").first
    assert cell.evaluate("each => each.getClientRects()[0].height") < 40, "one line"
    accessible(page)
    fits(page, 360)


def test_a_conversation_is_saved_as_a_file(page: Page) -> None:
    expect(page.get_by_role("button", name="Save as a file")).to_be_disabled()
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("System prompt").fill("Be brief.")
    ask(page, "first")
    expect(figures(page)).to_have_count(1)
    files = []
    for kind in ("As Markdown, to read", "As JSON, its messages"):
        page.get_by_role("button", name="Save as a file").click()
        with page.expect_download() as saving:
            page.get_by_role("button", name=kind).click()
        files.append(saving.value.path().read_text())
    assert files[0] == "> Be brief.\n\n## You\n\nfirst\n\n## alpha\n\nfirst\n"
    roles = [each["role"] for each in json.loads(files[1])["messages"]]
    assert roles == ["system", "user", "assistant"]


def test_two_models_answer_side_by_side(page: Page) -> None:
    page.get_by_role("button", name="Compare").click()
    page.get_by_label("Second model").select_option("slow")
    ask(page, "hello there")
    expect(answers(page).nth(1)).to_contain_text("tok2")
    expect(answers(page).nth(0).locator("footer")).to_contain_text("tokens")
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_label("Second model").select_option("beta")
    page.get_by_role("button", name="Answer again").first.click()
    expect(figures(page)).to_have_count(2)
    expect(page.get_by_text("faster")).to_have_count(1)
    accessible(page)
    fits(page, 360, 768, 3840)
    picture(page, "playground-compare")
    sent = script(page)
    ask(page, "again")
    expect(figures(page)).to_have_count(4)
    assert {each["model"] for each in sent} == {"alpha", "beta"}


def test_it_scrolls_along_only_at_the_end(page: Page) -> None:
    ask(page, "count", "slow")
    thread = page.get_by_label("Conversation")
    expect(page.get_by_role("button", name="To the end")).to_be_hidden()
    page.set_viewport_size({"width": 400, "height": 420})
    expect(answers(page)).to_contain_text("tok120")
    thread.evaluate("each => each.scrollTo(0, 0)")
    expect(page.get_by_role("button", name="To the end")).to_be_visible()
    seen = answers(page).inner_text()
    expect(answers(page)).not_to_have_text(seen)
    assert thread.evaluate("each => each.scrollTop") == 0
    page.get_by_role("button", name="To the end").click()
    expect(page.get_by_role("button", name="To the end")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(figures(page)).to_contain_text("stopped")


EVIL = """\
<script>document.title = "owned"</script><img src=x onerror="document.title='owned'">

[a](javascript:document.title='owned') [web](https://example.org) ![pixel](https://example.org/p.png)

```html
</code></pre><img src=x onerror="document.title='owned'">
```

| <svg onload="document.title='owned'"> |
| --: |
| <iframe srcdoc="<script>parent.document.title='owned'</script>"> |
"""


@pytest.mark.req("F-152")
def test_markup_of_models_and_people_does_nothing(page: Page) -> None:
    ask(page, EVIL)  # the model repeats it
    expect(figures(page)).to_have_count(1)
    answer = answers(page).locator(".markdown")
    assert answer.locator("img, svg:not(button svg), iframe, script").count() == 0
    expect(answer.get_by_role("link", name="web")).to_have_attribute("rel", "noreferrer")
    assert answer.locator("a[href^=javascript]").count() == 0
    expect(answer.locator("th")).to_have_css("text-align", "right")
    expect(answer.get_by_role("link", name="pixel")).to_have_attribute("href", "https://example.org/p.png")
    assert "owned" not in page.title()
    page.reload()  # and as it is kept
    expect(answers(page)).to_contain_text("onerror")
    assert "owned" not in page.title()
