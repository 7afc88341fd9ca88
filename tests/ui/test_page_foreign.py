"""What a page of another site can do with the browser of somebody who uses LanHaven: nothing (F-151, F-153).

Both stand on 127.0.0.1, on two ports: for cookies that is one and the same site, so SameSite alone would not help.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.house_process import HouseProcess, running
from tests.ui.conftest import MODELS
from tests.websites import web_server

KEY = "sk-test-0123456789abcdef0123456789abcdef"
SAY = '{"modelKey": "alpha"}'


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Another site."""
    folder: Path = tmp_path_factory.mktemp("foreign")
    (folder / "index.html").write_text("<!doctype html><title>Another site</title><p>Hello</p>")
    with web_server(folder) as url:
        yield url


@pytest.fixture(scope="module", params=["without keys", "signed in"])
def victim(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseProcess]:
    """A server that anybody on this machine may use, and one that this browser is signed in to."""
    settings = {"LANHAVEN_API_KEY": KEY} if request.param == "signed in" else {}
    with running(tmp_path_factory.mktemp("victim"), MODELS, "--provider", "mock", **settings) as house:
        if settings:
            house.http.headers["x-api-key"] = KEY
        yield house


@pytest.fixture
def context(browser: Browser, victim: HouseProcess) -> Iterator[BrowserContext]:
    """The browser of a person who has LanHaven open."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(victim.http.post("/ui/link", json={}).json()["url"])
        expect(page.get_by_role("navigation", name="Screens")).to_be_visible()
        yield context


@pytest.mark.req("F-151")
def test_it_changes_nothing(context: BrowserContext, victim: HouseProcess, foreign: str) -> None:
    page = context.new_page()
    page.goto(foreign)
    unload = f"{victim.url}/admin/models/unload"
    page.evaluate(
        """async ([unload, say, url]) => {
            const tries = [];
            for (const type of ["text/plain", "application/x-www-form-urlencoded"])
                tries.push(fetch(unload, {method: "POST", mode: "no-cors", credentials: "include", body: say, headers: {"content-type": type}}));
            tries.push(fetch(unload, {method: "POST", credentials: "include", body: say, headers: {"content-type": "application/json"}}));
            tries.push(fetch(url + "/admin/models/alpha", {method: "DELETE", credentials: "include"}));
            tries.push(fetch(url + "/ui/session", {method: "DELETE", credentials: "include"}));
            for (const path of ["/admin/models/unload?modelKey=alpha", "/admin/models"]) {
                const picture = new Image();
                tries.push(new Promise(done => { picture.onerror = picture.onload = done; picture.src = url + path; }));
            }
            navigator.sendBeacon(unload, say);
            await Promise.allSettled(tries);
        }""",
        [unload, SAY, victim.url],
    )
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        page.goto(foreign)
        page.evaluate(
            """([unload, kind, name]) => {
                const form = Object.assign(document.createElement("form"), {method: "post", action: unload, enctype: kind});
                form.append(Object.assign(document.createElement("input"), {name, value: '"}'}));
                document.body.append(form);
            }""",
            [unload, kind, '{"modelKey": "alpha", "x": "'],
        )
        with page.expect_navigation() as answered:
            page.evaluate("document.forms[0].submit()")
        assert answered.value is not None
        assert answered.value.status in (401, 403, 415)
    assert "alpha" in victim.loaded()
    other = context.pages[0]
    other.reload()
    expect(other.get_by_role("navigation", name="Screens")).to_be_visible()


@pytest.mark.req("F-151")
def test_it_reads_nothing(context: BrowserContext, victim: HouseProcess, foreign: str) -> None:
    page = context.new_page()
    page.goto(foreign)
    for path in ("/admin/models", "/debug/history/requests", "/ui/session", "/v1/models"):
        read = "url => fetch(url, {credentials: 'include'}).then(told => told.text(), () => 'refused')"
        assert page.evaluate(read, victim.url + path) == "refused", path
    with page.expect_event("console", lambda line: "CORS" in line.text or "ERR_FAILED" in line.text):
        page.evaluate("url => { new EventSource(url, {withCredentials: true}) }", f"{victim.url}/debug/stream")


@pytest.mark.req("F-153")
def test_it_frames_nothing(context: BrowserContext, victim: HouseProcess, foreign: str) -> None:
    page = context.new_page()
    page.goto(foreign)
    for path in ("/", "/docs", "/#/models"):
        with page.expect_event(
            "console", lambda line: "frame-ancestors" in line.text or "X-Frame-Options" in line.text
        ):
            page.evaluate(
                "url => document.body.append(Object.assign(document.createElement('iframe'), {src: url}))",
                victim.url + path,
            )
    for frame in page.frames[1:]:
        assert "LanHaven" not in frame.content()
