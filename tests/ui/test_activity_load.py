"""An hour of fifty requests a second on the screen Activity: what it keeps, what is in the page, what it costs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.house_process import HouseProcess
from tests.ui.pages import heading, opened

HOUR = 180_000  # requests
ROUND = 2_500  # requests, of two events each: what the page takes in one batch
KEPT = 10_000
# The debug stream as the browser would give it; and batches at once, not four a second.
STREAM = """
const later = window.setTimeout;
window.setTimeout = (call, wait, ...rest) => later(call, wait === 250 ? 0 : wait, ...rest);
window.EventSource = class extends EventTarget {
  static CLOSED = 2;
  readyState = 1;
  constructor() { super(); window.stream = this; later(() => this.onopen?.(new Event("open"))); }
  close() {}
};
window.send = (name, event) => window.stream.dispatchEvent(new MessageEvent(name, {data: JSON.stringify(event)}));
window.requests = async (first, count) => {
  for (let at = first; at < first + count; at++) {
    const requestId = `req_${at}`, timestamp = new Date(1e12 + at * 20).toISOString();
    const model = `model-${at % 7}`, client = `key-${at % 5}`, userAgent = `Program/1.${at % 9}`;
    const whole = {requestId, dialect: "openai", client, timestamp};
    send("inference_start", {...whole, method: "POST", path: "/v1/chat/completions", model, address: "192.168.1.7", userAgent, parameters: {stream: true}});
    if (at % 10 === 0) send("error", {...whole, operation: "inference", modelKey: model, error: `It went wrong ${at % 100}.`, code: "x", status: 500, totalTimeMs: 20});
    else send("inference_complete", {...whole, modelKey: model, instanceId: model, streamed: true, totalTimeMs: 900, queueMs: 1, firstTokenMs: 100, finishReason: "stop", tokenUsage: {promptTokens: at, completionTokens: 40}});
  }
  await new Promise(done => later(done, 5));
};
"""


@pytest.fixture
def page(browser: Browser, house: HouseProcess) -> Iterator[Page]:
    with opened(browser, house.url, "/#/connect") as page:
        heading(page, "Connect")
        page.evaluate(STREAM)
        page.evaluate("location.hash = '#/activity'")
        heading(page, "Activity")
        expect(page.get_by_role("main")).to_contain_text("Nothing yet")
        yield page


def heap(page: Page) -> int:
    """Bytes of live JavaScript objects."""
    debugger = page.context.new_cdp_session(page)
    debugger.send("HeapProfiler.collectGarbage")
    used: int = debugger.send("Runtime.getHeapUsage")["usedSize"]
    debugger.detach()
    return used


def test_an_hour_of_fifty_requests_a_second_stays_small(page: Page) -> None:
    before = heap(page)
    for first in range(0, HOUR, ROUND):
        page.evaluate("([first, count]) => requests(first, count)", [first, ROUND])
    grid = page.get_by_role("grid")
    expect(grid).to_have_attribute("aria-rowcount", str(KEPT + 1))
    grown = heap(page) - before
    assert grown < 20_000_000, f"{grown / 1e6:.1f} MB"


def test_ten_thousand_rows_are_few_elements_and_stay_where_one_reads(page: Page) -> None:
    for first in range(0, KEPT + ROUND, ROUND):
        page.evaluate("([first, count]) => requests(first, count)", [first, ROUND])
    grid = page.get_by_role("grid")
    expect(grid).to_have_attribute("aria-rowcount", str(KEPT + 1))
    lines = grid.locator(".line")
    assert lines.count() < 60
    grid.focus()
    page.keyboard.press("End")
    expect(lines.last).to_have_attribute("aria-rowindex", str(KEPT + 1))
    expect(lines.last).to_contain_text("It went wrong 0.")  # request 2500
    for _ in range(20):
        page.keyboard.press("PageUp")
    seen = lines.nth(20).get_attribute("id")
    top = lines.nth(20).bounding_box()
    page.evaluate("requests(12500, 30)")
    expect(grid).to_have_attribute("aria-activedescendant", grid.get_attribute("aria-activedescendant") or "")
    after = page.locator(f"[id='{seen}']")
    expect(after).to_be_visible()
    assert after.bounding_box() == top, "rows that come do not move what one reads"
    page.get_by_label("Status").select_option("failed")
    expect(grid).to_have_attribute("aria-rowcount", str(KEPT // 10 + 1))
    assert lines.count() < 60


def test_older_requests_come_from_the_history(browser: Browser, house: HouseProcess) -> None:
    for at in range(510):
        house.chat("hello", model=f"missing-{at}")
    with opened(browser, house.url, "/#/activity?events=off") as page:
        grid = page.get_by_role("grid")
        expect(grid).to_have_attribute("aria-rowcount", "501")
        page.get_by_role("button", name="Older").click()
        expect(grid).to_have_attribute("aria-rowcount", "511")
        expect(page.get_by_role("button", name="Older")).to_have_count(0)
        grid.press("End")
        expect(grid.locator(".line").last).to_contain_text("missing-0")
