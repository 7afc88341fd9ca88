"""What the tests of the page share: opening it, its themes, what axe-core says, pictures."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from PIL import Image
from playwright.sync_api import Browser, Page, expect

UI = Path(__file__).resolve().parents[2] / "ui"
AXE = UI / "node_modules/axe-core/axe.min.js"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
Theme = Literal["light", "dark"]
THEMES: tuple[Theme, Theme] = ("light", "dark")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@contextmanager
def opened(browser: Browser, url: str, path: str = "/", **context: Any) -> Iterator[Page]:
    """A page of its own, at `path`. At the end: nothing failed in it, its policy was kept, no other host was asked."""
    with browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **context}) as made:
        page = made.new_page()
        complaints: list[str] = []
        own = urlsplit(url).netloc
        page.on("pageerror", lambda error: complaints.append(f"{error}\n{error.stack}"))
        page.on("console", lambda line: complaints.append(line.text) if "Content Security" in line.text else None)
        page.on(
            "request",
            lambda asked: (
                complaints.append(f"asked {asked.url}")
                if asked.url.startswith(("http", "ws")) and urlsplit(asked.url).netloc != own
                else None
            ),
        )
        page.goto(url + path)
        yield page
        assert complaints == []


def choose(page: Page, theme: Theme) -> None:
    """Show the page in this theme, once its colours have changed."""
    page.evaluate(
        """async theme => {
            document.documentElement.dataset.theme = theme;
            const changing = document.getAnimations().filter(each => each instanceof CSSTransition);
            await Promise.allSettled(changing.map(each => each.finished));
        }""",
        theme,
    )


def accessible(page: Page) -> None:
    """axe-core finds nothing, in either theme."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text())  # by the debugger: the page's own policy stays as it is
    for theme in THEMES:
        choose(page, theme)
        found = page.evaluate("rules => axe.run(document, {runOnly: rules}).then(told => told.violations)", RULES)
        told = [
            f"{theme}: {each['id']}: {each['help']}\n    " + "\n    ".join(node["html"][:200] for node in each["nodes"])
            for each in found
        ]
        assert not told, "\n".join(told)


def fits(page: Page, *widths: int) -> None:
    """At each width nothing stands out at the side: the page itself does not scroll sideways."""
    before = page.viewport_size
    for width in widths:
        page.set_viewport_size({"width": width, "height": 800})
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"at {width} px the page is {wide} px too wide"
    if before is not None:
        page.set_viewport_size(before)


def picture(page: Page, name: str) -> None:
    """A picture of the page in both themes: into the folder LANHAVEN_PICTURES, or nowhere."""
    for theme in THEMES:
        choose(page, theme)
        taken = page.screenshot(animations="disabled")
        few = Image.open(io.BytesIO(taken)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
        assert len(few.getcolors() or ()) > 16, f"{name} is empty"
        folder = os.environ.get("LANHAVEN_PICTURES")
        if folder:
            few.save(Path(folder) / f"{name}-{theme}.png", optimize=True)  # a third of the bytes, and looks the same


def heading(page: Page, text: str) -> None:
    """The screen of this title is shown."""
    expect(page.get_by_role("heading", level=1, name=text)).to_be_visible()
