"""The JavaScript client in a real browser, in a page of another origin: what it may do, and what it may not."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from playwright.sync_api import Browser, Page

from tests.house_process import HouseProcess, running, until
from tests.js.conftest import KEY, MODELS
from tests.js.node import CLIENT
from tests.websites import web_server


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "lanhaven").symlink_to(CLIENT / "src")
    (folder / "index.html").write_text("<!doctype html><title>A page</title><p>Hello</p>")
    with web_server(folder) as url:
        yield url


@pytest.fixture
def page(browser: Browser, origin: str) -> Iterator[Page]:
    """A page of `origin`; `asking(url, key, model)` there gives a client."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{origin}/index.html")
    page.evaluate("""async () => {
      const lanhaven = await import('/lanhaven/index.js');
      window.asking = async (url, apiKey, model) => {
        const client = new lanhaven.LMStudioClient(url, { apiKey });
        await client.setCurrentModel(model);
        return client;
      };
      window.failing = async (work) => {
        try { await work(); return null; }
        catch (error) { return { name: error.name, code: error.code ?? null, status: error.status ?? null, message: error.message }; }
      };
    }""")
    yield page
    context.close()


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory, origin: str) -> Iterator[HouseProcess]:
    """A server with keys that lists the page's origin."""
    home = tmp_path_factory.mktemp("listed")
    settings = {"LANHAVEN_API_KEY": KEY, "LANHAVEN_CORS_ORIGINS": origin}
    with running(home, MODELS, "--provider", "mock", **settings) as house:
        house.http.headers["X-API-Key"] = KEY
        yield house


def counts(house: HouseProcess) -> tuple[int, int, int]:
    """Requests that came, that were cancelled, that run."""
    found = house.get("/debug/metrics")["performance"]
    return found["totalRequests"], found["cancelledRequests"], found["inflightRequests"]


@pytest.mark.req("S2-03", "S2-14", "S2-24", "C10", "C16")
def test_a_listed_page_asks(page: Page, listed: HouseProcess) -> None:
    found = page.evaluate(
        """async ([url, key]) => {
          const client = await asking(url, key, 'alpha');
          const models = await client.fetchModels();
          return { ids: models.map(({ id }) => id), ...await client.sendMessage('Hello there') };
        }""",
        [listed.url, KEY],
    )
    assert "alpha" in found["ids"]
    assert (found["content"], found["streaming"]) == ("Hello there", False)


@pytest.mark.req("S2-10", "S2-12", "S2-13", "C16")
def test_tokens_come_into_the_page_one_by_one(page: Page, listed: HouseProcess) -> None:
    """Not at the end all at once: the request still runs on the server when the first ones are there."""
    page.evaluate(
        """async ([url, key]) => {
          const client = await asking(url, key, 'slow');
          window.tokens = [];
          window.result = client.sendMessage('x', { maxTokens: 100, onToken: (token) => window.tokens.push(token) });
        }""",
        [listed.url, KEY],
    )
    page.wait_for_function("() => tokens.length >= 2")
    assert counts(listed)[2] == 1
    found = page.evaluate("async () => [await result, tokens.length]")
    assert found[1] == 100
    assert found[0]["content"].startswith("tok0 tok1 ")


@pytest.mark.req("S2-12", "S2-21")
def test_a_stop_button_frees_the_model(page: Page, listed: HouseProcess) -> None:
    _, before, _ = counts(listed)
    found = page.evaluate(
        """async ([url, key]) => {
          const client = await asking(url, key, 'slow');
          const controller = new AbortController();
          const onToken = (token, all) => all.includes('tok3') && controller.abort();
          return failing(() => client.sendMessage('x', { onToken, signal: controller.signal }));
        }""",
        [listed.url, KEY],
    )
    assert found["name"] == "AbortError"
    until(lambda: counts(listed)[1:] == (before + 1, 0), "the server saw the request end")


@pytest.mark.req("S2-21")
def test_a_page_that_is_closed_frees_the_model(page: Page, listed: HouseProcess) -> None:
    _, before, _ = counts(listed)
    page.evaluate(
        """async ([url, key]) => {
          const client = await asking(url, key, 'slow');
          window.tokens = 0;
          void client.sendMessage('x', { onToken: () => { window.tokens += 1; } });
        }""",
        [listed.url, KEY],
    )
    page.wait_for_function("() => tokens > 1")
    page.goto("about:blank")
    until(lambda: counts(listed)[1:] == (before + 1, 0), "the server saw the request end")


@pytest.mark.req("S2-09", "S2-12", "C10")
def test_a_listed_page_reads_refusals(page: Page, listed: HouseProcess) -> None:
    """With their codes, request ids and all: the error replies have CORS headers too."""
    found = page.evaluate(
        """async ([url, key]) => [
          await failing(async () => (await asking(url, 'sk-lan-wrong', 'alpha')).sendMessage('x')),
          await failing(async () => (await asking(url, key, 'nobody')).sendMessage('x', { stream: true })),
          await (await asking(url, key, 'nobody')).sendMessage('x').catch((error) => Boolean(error.requestId)),
        ]""",
        [listed.url, KEY],
    )
    assert (found[0]["name"], found[0]["status"], found[0]["code"]) == ("UnauthorizedError", 401, "invalid_api_key")
    assert (found[1]["name"], found[1]["status"], found[1]["code"]) == ("NotFoundError", 404, "model_not_found")
    assert found[2] is True


@pytest.mark.req("S2-24", "C10", "C16")
def test_a_page_that_is_not_listed_reads_nothing(page: Page, keyed: HouseProcess) -> None:
    """Even with the right key: the browser asks beforehand, is not told yes, and sends nothing."""
    found = page.evaluate(
        """async ([url, key]) => {
          const client = await asking(url, key, 'alpha');
          return [await failing(() => client.fetchModels()), await failing(() => client.sendMessage('x'))];
        }""",
        [keyed.url, KEY],
    )
    assert [each["name"] for each in found] == ["ConnectionError", "ConnectionError"]
    assert "cors_origins" in found[0]["message"]
    with httpx2.Client(base_url=keyed.url, headers={"X-API-Key": KEY}, trust_env=False) as http:
        assert http.get("/debug/metrics").json()["performance"]["totalRequests"] == 0


@pytest.mark.req("S2-24", "C10", "C16")
def test_a_page_cannot_use_the_open_server_of_its_visitor(page: Page, open_house: HouseProcess) -> None:
    """Nor can a form or a plain text, which browsers send without asking."""
    found = page.evaluate(
        """async ([url]) => {
          const client = await asking(url, null, 'alpha');
          const body = JSON.stringify({ model: 'alpha', messages: [{ role: 'user', content: 'x' }] });
          await fetch(`${url}/v1/chat/completions`, { method: 'POST', mode: 'no-cors', body });
          return [await failing(() => client.fetchModels()), await failing(() => client.sendMessage('x'))];
        }""",
        [open_house.url],
    )
    assert [each["name"] for each in found] == ["ConnectionError", "ConnectionError"]
    assert counts(open_house)[0] == 0
