"""The dashboard's address: in the banner, opened in a browser with a window and in no other, printed on request."""

from __future__ import annotations

import re
from pathlib import Path

import httpx2
import pytest

from lanhaven.cli.browser import at_hand, wanted
from tests.cli.scripted import Cli, Scripted, Terminal
from tests.cli.test_real_server import MODELS, running
from tests.house_process import until

LINK = re.compile(r"(http://127\.0\.0\.1:\d+/)\?token=([\w-]{43})(?!\S)")
PAGE = {"Accept": "text/html"}


def browser(home: Path, name: str = "browser") -> dict[str, str]:
    """A browser that writes down what it is to open."""
    script = home / name
    script.write_text(f'#!/bin/sh\necho "$*" >>"{home}/opened"\n')
    script.chmod(0o755)
    return {"BROWSER": str(script)}


def opened(home: Path) -> list[str]:
    log = home / "opened"
    return log.read_text().splitlines() if log.exists() else []


def signs_in(link: str) -> bool:
    return httpx2.get(link, headers=PAGE, trust_env=False).headers["location"] == "/"


@pytest.fixture
def home(alone: Cli) -> Path:
    (alone.home / "models.yaml").write_text(MODELS)
    return alone.home


# ---- open


@pytest.fixture
def linked(server: Scripted) -> Scripted:
    server.says("POST", "/ui/link", {"url": "http://behind.example/?token=once"})
    return server


def test_open_gives_the_link_under_the_address_that_was_asked(cli: Cli, linked: Scripted) -> None:
    link = f"{linked.url}/?token=once"
    assert cli("open", "--print", "--key", "k").out == f"{link}\n"
    assert linked.asked[-1].headers["x-api-key"] == "k"
    assert cli("open", "--json").json == {"url": link}
    done = cli("open", **browser(cli.home))
    assert (done.status, done.out, opened(cli.home)) == (0, "", [link])


def test_without_a_browser_open_says_what_to_open(cli: Cli, linked: Scripted) -> None:
    for variables in ({}, browser(cli.home, "lynx"), {"BROWSER": "/no/such/browser"}):
        done = cli("open", **variables)
        assert (done.status, done.out) == (0, f"{linked.url}/?token=once\n")
        assert "no browser with a window" in done.err
    assert opened(cli.home) == []


def test_a_key_that_may_not_sign_browsers_in_is_told(cli: Cli, server: Scripted) -> None:
    server.says("POST", "/ui/link", {"error": "Forbidden", "hint": "this needs a key with the scope admin"}, 403)
    done = cli("open", "--print")
    assert done.status == 4
    assert "scope admin" in done.err


# ---- up


def test_the_banner_of_a_server_with_keys_has_a_link_that_works_once(alone: Cli, home: Path) -> None:
    with running(alone, "--provider", "mock", LANHAVEN_API_KEY="a-key-of-16-letters-or-more", **browser(home)) as up:
        (found,) = LINK.findall(up.told)
        link = "{}?token={}".format(*found)
        assert signs_in(link)
        assert not signs_in(link)
        fresh = alone("open", "--print").out.strip()
        assert fresh != link
        assert signs_in(fresh)
    assert opened(home) == []  # nobody is at a terminal


def test_at_a_terminal_up_opens_the_page_signed_in(alone: Cli, home: Path) -> None:
    with alone.terminal("up", "--port", "0", "--provider", "mock", **browser(home)) as terminal:
        terminal.until("ready in")
        (link,) = until(lambda: opened(home), "the browser was started")
        assert LINK.fullmatch(link)
        assert signs_in(link)
        _stop(terminal)


def test_no_browser_is_started_in_the_terminal(alone: Cli, home: Path) -> None:
    with alone.terminal("up", "--port", "0", "--provider", "mock", **browser(home, "lynx")) as terminal:
        terminal.until("no browser to open")
        _stop(terminal)
    assert opened(home) == []


@pytest.mark.parametrize(
    ("choice", "variables", "terminal", "expected"),
    [
        (None, {"DISPLAY": ":0"}, True, True),
        (None, {"DISPLAY": ":0"}, False, False),
        (None, {"DISPLAY": ":0", "CI": "true"}, True, False),
        (False, {"DISPLAY": ":0"}, True, False),
        (True, {"CI": "true"}, False, True),
    ],
)
def test_when_the_page_is_opened(
    choice: bool | None, variables: dict[str, str], terminal: bool, expected: bool
) -> None:
    assert wanted(choice, variables, terminal=terminal) is expected


def test_open_forces_it(alone: Cli, home: Path) -> None:
    with running(alone, "--provider", "mock", "--open", CI="1", **browser(home)):
        assert LINK.fullmatch(until(lambda: opened(home), "the browser was started")[0])


def _stop(terminal: Terminal) -> None:
    terminal.interrupt()
    assert terminal.finish().status == 0


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0", "SSH_CONNECTION": ""}, True),
        ("linux", {"SSH_CONNECTION": "1 2 3 4"}, False),
        ("linux", {"SSH_CONNECTION": "1 2 3 4", "DISPLAY": "localhost:10.0"}, True),
        ("linux", {"BROWSER": "firefox"}, True),
        ("darwin", {}, True),
        ("darwin", {"SSH_TTY": "/dev/ttys1"}, False),
        ("win32", {}, True),
        ("win32", {"SSH_CONNECTION": "1 2 3 4"}, False),
    ],
)
def test_who_could_see_a_browser(platform: str, variables: dict[str, str], expected: bool) -> None:
    assert at_hand(variables, platform) is expected
