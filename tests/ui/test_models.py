"""The screen Models: load with progress, keep, change, fail with a way out; memory told before a load; hostile names."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.house_process import HouseProcess, running, until
from tests.ui.pages import accessible, fits, heading, opened, picture

MARKUP = "<img src=x onerror=window.pwned=1>"
QUOTED = 'it\'s "quoted" & named/x?y#z%41'
ARABIC = "نموذج-7b"
LONG = "org/" + "a-very-long-name-" * 10 + "Q4_K_M.gguf"
HOSTILE = (MARKUP, QUOTED, ARABIC, LONG)
MODELS = f"""\
# what we have
default_model: alpha
models:
  # ---- for every day ----
  - id: alpha            # the first
    provider: mock
    aliases: [first]
    defaults: {{temperature: 0.5}}   # not too wild
    config: {{size_bytes: 100000000}}
  - {{id: slow, provider: mock, config: {{size_bytes: 300000000, load_seconds: 3}}}}
  - {{id: big, provider: mock, config: {{size_bytes: 950000000}}}}
  - {{id: giant, provider: mock, config: {{size_bytes: 5000000000}}}}
  - {{id: broken, provider: mock, config: {{fail_load: "tensor 'blk.7' is missing"}}}}
  - {{id: vectors, provider: mock, config: {{kind: embedding}}}}
  - {{id: old, provider: mock}}
  - {{id: elsewhere, provider: llama_cpp, config: {{model_path: /nowhere.gguf}}}}
  - {{id: "{MARKUP}", provider: mock}}
  - {{id: "{QUOTED.replace('"', chr(92) + '"')}", provider: mock}}
  - {{id: "{ARABIC}", provider: mock}}
  - {{id: "{LONG}", provider: mock}}
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseProcess]:
    """A server that may give models 1 GB."""
    home = tmp_path_factory.mktemp("models")
    with running(home, MODELS, "--provider", "mock", LANHAVEN_MEMORY_BUDGET="1000000000") as house:
        yield house


@pytest.fixture
def page(browser: Browser, house: HouseProcess) -> Iterator[Page]:
    for loaded in house.loaded().values():
        house.unload(loaded["path"], instanceId=loaded["identifier"])
    with opened(browser, house.url, "/#/models") as page:
        heading(page, "Models")
        expect(row(page, "alpha")).to_be_visible()
        yield page


def row(page: Page, name: str) -> Locator:
    """The rows of a model."""
    return page.locator("tbody").filter(has=page.get_by_role("link", name=name, exact=True))


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def more(page: Page, name: str, action: str) -> None:
    """An action of a row's menu."""
    press(page, f"More for {name}")
    page.get_by_role("group", name=f"More for {name}").get_by_text(action).click()


def ready(page: Page, name: str) -> Locator:
    found = row(page, name)
    expect(found.get_by_text("ready", exact=True)).to_be_visible()
    return found


def drawer(page: Page, name: str) -> Locator:
    page.get_by_role("link", name=name, exact=True).click()
    found = page.get_by_role("dialog", name=f"Load {name}")
    expect(found).to_be_visible()
    return found


def test_a_model_is_loaded_with_its_progress_and_unloaded(page: Page, house: HouseProcess) -> None:
    press(page, "Load slow")
    expect(page.get_by_role("progressbar", name="Loading slow")).to_be_visible()
    expect(row(page, "slow").get_by_text(re.compile(r"^\d+ %"))).to_be_visible()
    ready(page, "slow")
    expect(page.get_by_role("figure", name="Memory")).to_contain_text("slow 300 MB")
    assert house.loaded()["slow"]["active"]
    expect(page.get_by_role("button", name="slow is active")).to_be_visible()
    press(page, "Unload slow")
    expect(row(page, "slow")).to_contain_text("not loaded")
    assert "slow" not in house.loaded()


def test_a_load_is_stopped(page: Page, house: HouseProcess) -> None:
    press(page, "Load slow")
    press(page, "Stop loading slow")
    expect(row(page, "slow")).to_contain_text("not loaded")
    until(lambda: "slow" not in house.loaded(), "the load is stopped")
    expect(row(page, "slow").get_by_role("alert")).to_have_count(0)


def test_an_instance_is_made_active_pinned_and_timed(page: Page, house: HouseProcess) -> None:
    house.load("alpha")
    house.load("vectors")
    ready(page, "alpha")
    press(page, "Make alpha the active one")
    expect(page.get_by_role("button", name="alpha is active")).to_be_disabled()
    assert house.loaded()["alpha"]["active"]
    more(page, "alpha", "Pin")
    expect(row(page, "alpha").get_by_text("pinned")).to_be_visible()
    assert house.loaded()["alpha"]["pinned"]
    more(page, "alpha", "Unpin")
    expect(row(page, "alpha").get_by_text("no limit")).to_be_visible()
    press(page, "More for alpha")
    page.get_by_label("Unload after").select_option("30 minutes")
    expect(row(page, "alpha").get_by_text("30 min", exact=True)).to_be_visible()
    assert house.loaded()["alpha"]["loadConfig"]["ttlSeconds"] == 1800


def test_the_table_hears_what_others_do(page: Page, house: HouseProcess) -> None:
    house.load("alpha", instanceId="second", loadConfig={"contextLength": 2048})
    expect(row(page, "alpha").get_by_text("second")).to_be_visible()
    house.load("alpha", instanceId="third", loadConfig={"contextLength": 1024})
    expect(row(page, "alpha").get_by_text("2 instances")).to_be_visible()
    with house.stream("go on", model="second", mock={"answer": "count", "tokens": 100_000, "interval": 0.01}):
        expect(row(page, "alpha").get_by_text("busy 1/4")).to_be_visible()
    house.chat("one two three", model="third", stream=True, mock={"answer": "count", "tokens": 20, "interval": 0.01})
    speed = row(page, "alpha").get_by_role("row").filter(has_text="third").locator("[data-label='tok/s']")
    expect(speed).to_have_text(re.compile(r"^\d+(\.\d)?$"))
    assert house.chat("x", model="broken").status_code == 500
    expect(row(page, "broken").get_by_role("alert")).to_contain_text("tensor 'blk.7' is missing")


def test_what_a_load_would_take_is_said_before_it(page: Page, house: HouseProcess) -> None:
    house.chat("hello", model="alpha")  # loaded by a request: it makes room for others
    alpha = drawer(page, "vectors")
    expect(alpha.get_by_text("fits", exact=True)).to_be_visible()
    alpha.get_by_label("Context, tokens of one request").fill("99999")
    expect(alpha.get_by_text("is ignored: the model takes 8192 tokens at most")).to_be_visible()
    alpha.get_by_label("Requests at once").fill("1000")
    expect(alpha.get_by_text("At most 256.")).to_be_visible()
    expect(alpha.get_by_role("button", name="Load", exact=True)).to_be_disabled()
    page.keyboard.press("Escape")
    big = drawer(page, "big")
    expect(big.get_by_text("fits when others leave")).to_be_visible()
    expect(big.get_by_text("Leaves first: alpha")).to_be_visible()
    page.keyboard.press("Escape")
    giant = drawer(page, "giant")
    expect(giant.get_by_text("does not fit")).to_be_visible()
    expect(giant).to_contain_text("takes 5.0 GB")
    assert "giant" not in house.loaded()


def test_a_load_that_fails_says_what_can_be_done(page: Page, house: HouseProcess) -> None:
    house.load("alpha", pinned=True)
    press(page, "Load giant")
    told = row(page, "giant").get_by_role("alert")
    expect(told).to_contain_text("needs 5.0 GB")
    expect(told).to_contain_text("unload alpha")
    told.get_by_role("button", name="Unload alpha, then load").click()
    expect(row(page, "alpha")).to_contain_text("not loaded")
    expect(told).to_contain_text("take a smaller model")
    told.get_by_role("button", name="Load anyway").click()
    ready(page, "giant")
    expect(told).to_have_count(0)
    press(page, "Load broken")
    told = row(page, "broken").get_by_role("alert")
    expect(told).to_contain_text("tensor 'blk.7' is missing")
    told.get_by_role("button", name="Try again").click()
    expect(told).to_contain_text("tensor 'blk.7' is missing")
    told.get_by_role("button", name="Close").click()
    expect(told).to_have_count(0)


def test_settings_are_kept_in_models_yaml_with_its_comments(page: Page, house: HouseProcess) -> None:
    found = drawer(page, "alpha")
    found.get_by_role("spinbutton", name="Context").fill("4096")
    found.get_by_label("Requests at once").fill("2")
    found.get_by_text("Defaults, where a request is silent").click()
    expect(found.get_by_label("Temperature")).to_have_value("0.5")
    found.get_by_label("Top P").fill("0.9")
    found.get_by_label("Keep all this for next time").check()
    found.get_by_role("button", name="Load", exact=True).click()
    expect(found).to_have_count(0)
    file = house.home / "models.yaml"
    expect(page.get_by_text(f"alpha is kept so in {file}")).to_be_visible()
    instance = house.loaded()["alpha"]
    assert (instance["contextLength"], instance["slots"]) == (4096, 2)
    assert instance["defaultInference"] == {"temperature": 0.5, "topP": 0.9}
    text = file.read_text()
    for part in (
        "# what we have",
        "# ---- for every day ----",
        "# the first",
        "# not too wild",
        "slots: 2",
        "topP: 0.9",
    ):
        assert part in text
    more(page, "alpha", "Its defaults")
    defaults = page.get_by_role("dialog", name="Defaults of alpha")
    defaults.get_by_label("Temperature").fill("0")
    defaults.get_by_role("button", name="Save").click()
    expect(defaults).to_have_count(0)
    assert house.loaded()["alpha"]["defaultInference"] == {"temperature": 0.0, "topP": 0.9}


def test_an_entry_is_edited_removed_and_one_of_another_server_added(page: Page, house: HouseProcess) -> None:
    file = house.home / "models.yaml"
    more(page, "vectors", "Edit its entry")
    entry = page.get_by_role("dialog", name="Entry of vectors")
    entry.get_by_label("Further names").fill("embedder, vec")
    entry.get_by_label("Unload when unused").select_option("1 hour")
    entry.get_by_role("button", name="Save").click()
    expect(entry).to_have_count(0)
    until(lambda: "embedder" in file.read_text(), "the entry is written")
    press(page, "More for old")
    menu = page.get_by_role("group", name="More for old")
    menu.get_by_role("button", name="Remove its entry").click()
    menu.get_by_role("button", name="Keep").click()
    menu.get_by_role("button", name="Remove its entry").click()
    menu.get_by_role("button", name="Remove it", exact=True).click()
    expect(page.get_by_role("link", name="old", exact=True)).to_have_count(0)
    assert "id: old" not in file.read_text()
    press(page, "Add a model")
    adding = page.get_by_role("dialog", name="Add a model")
    expect(adding.get_by_role("button", name="Fetch smollm2")).to_be_visible()
    expect(adding).to_contain_text("lanhaven import")
    adding.get_by_label("Address").fill("http://127.0.0.1:9")
    adding.get_by_label("Name here").fill("alpha")
    press(page, "Add it")
    expect(adding.get_by_role("alert")).to_contain_text("has 'alpha' already")
    adding.get_by_label("Name here").fill("far")
    press(page, "Add it")
    expect(row(page, "far")).to_contain_text("openai")
    assert "base_url: http://127.0.0.1:9" in file.read_text()


def tab_to(page: Page, name: str) -> None:
    """By Tab alone."""
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement?.getAttribute('aria-label')") == name:
            return
    pytest.fail(f"Tab does not come to {name}")


def test_the_keyboard_alone_loads_and_unloads(page: Page, house: HouseProcess) -> None:
    tab_to(page, "Load alpha")
    page.keyboard.press("Enter")
    ready(page, "alpha")
    expect(page.get_by_role("button", name="Unload alpha")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("group", name="More for alpha")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="More for alpha")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="Unload alpha")).to_be_focused()
    page.keyboard.press("Space")
    expect(row(page, "alpha")).to_contain_text("not loaded")
    expect(page.get_by_role("button", name="Load alpha", exact=True)).to_be_focused()
    assert "alpha" not in house.loaded()


@pytest.mark.req("F-152")
def test_names_are_text_whatever_they_look_like(page: Page, house: HouseProcess) -> None:
    for name in HOSTILE:
        press(page, f"Load {name}")
        ready(page, name)
        assert name in house.loaded()
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.get_by_role("dialog", name=f"Load {name}")).to_contain_text("Loaded already")
        page.keyboard.press("Escape")
    assert page.evaluate("window.pwned") is None
    assert page.locator("main img").count() == 0
    fits(page, 360, 768)


def test_models_are_found_by_words_and_kinds(page: Page) -> None:
    rows = page.locator("tbody")
    page.get_by_role("searchbox", name="Find a model").fill("FIRST mock")
    expect(rows).to_have_count(1)
    expect(page.get_by_text("1 model", exact=True)).to_be_visible()
    page.get_by_role("searchbox", name="Find a model").fill("nothing is called so")
    page.get_by_role("button", name="Show all").click()
    page.get_by_role("button", name="Embedding", exact=True).click()
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="All", exact=True).click()
    expect(row(page, "elsewhere")).to_contain_text("cannot run")
    expect(row(page, "elsewhere")).to_contain_text("There is no provider 'llama_cpp' here")


def test_providers_say_how_they_do(page: Page) -> None:
    page.get_by_role("button", name="Providers").click()
    told = page.get_by_role("dialog", name="Providers").get_by_role("listitem")
    expect(told.filter(has_text="mock")).to_contain_text("well")
    expect(told.filter(has_text="lmstudio")).to_have_count(0)
    accessible(page)


def test_the_screen_is_for_everybody_at_every_width(page: Page, house: HouseProcess) -> None:
    house.load("alpha", pinned=True)
    house.load("slow")
    press(page, "Load broken")
    expect(row(page, "broken").get_by_role("alert")).to_be_visible()
    ready(page, "slow")
    accessible(page)
    fits(page, 360, 768, 3840)
    picture(page, "models")
    press(page, "More for alpha")
    accessible(page)
    page.keyboard.press("Escape")
    drawer(page, "big")
    expect(page.get_by_text("does not fit")).to_be_visible()
    accessible(page)
    fits(page, 360, 3840)
    picture(page, "models-load")
    page.keyboard.press("Escape")
    press(page, "Add a model")
    expect(page.get_by_role("button", name="Fetch smollm2")).to_be_visible()
    accessible(page)
    fits(page, 360)
