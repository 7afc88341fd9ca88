"""What the tests of the playground share: asking, and scripting what the mock provider does with the page's requests."""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import Locator, Page, Route


def box(page: Page) -> Locator:
    """Where one writes."""
    return page.get_by_role("textbox", name="Message", exact=True)


def ask(page: Page, question: str, model: str | None = None) -> None:
    """Ask as a person does: choose the model, type, Enter."""
    if model is not None:
        page.get_by_label("Model", exact=True).select_option(model)
    box(page).fill(question)
    box(page).press("Enter")


def answers(page: Page) -> Locator:
    """The answers, in their order."""
    return page.get_by_role("article")


def figures(page: Page) -> Locator:
    """What is told under an answer that is over."""
    return page.get_by_role("article").locator("footer[aria-busy=false]")


def script(page: Page, **mock: Any) -> list[dict[str, Any]]:
    """Have the mock provider answer the page's requests so; the requests as the page sent them, as they come."""
    sent: list[dict[str, Any]] = []

    def with_script(route: Route) -> None:
        body: dict[str, Any] = json.loads(route.request.post_data or "")
        sent.append(body)
        route.continue_(post_data=json.dumps(body | {"mock": mock} if mock else body))

    page.unroute("**/v1/chat/completions")
    page.route("**/v1/chat/completions", with_script)
    return sent


def without_end(route: Route) -> None:
    """The model may not end its answer by itself: it would now and then be done before anybody can stop it."""
    route.continue_(post_data=json.dumps((route.request.post_data_json or {}) | {"ignore_eos": True}))
