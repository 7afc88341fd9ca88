"""The person's browser: whether there is one with a window, and opening an address in it.

`webbrowser` alone would start lynx or w3m in the terminal, over the server's own output.
"""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Mapping
from pathlib import PurePath
from threading import Thread

from lanhaven.cli import output

IN_TERMINALS = frozenset({"browsh", "elinks", "links", "links2", "lynx", "w3m", "www-browser"})


def at_hand(variables: Mapping[str, str], platform: str = sys.platform) -> bool:
    """Whether whoever started this command could see a window of a browser."""
    if variables.get("BROWSER"):
        return True
    if platform in ("darwin", "win32"):
        return not (variables.get("SSH_CONNECTION") or variables.get("SSH_TTY"))
    return bool(variables.get("DISPLAY") or variables.get("WAYLAND_DISPLAY"))


def wanted(choice: bool | None, variables: Mapping[str, str], *, terminal: bool) -> bool:
    """Whether to open a page unasked: for a person at a terminal who could see it. `choice` is --open or --no-open."""
    if choice is not None:
        return choice
    return terminal and not variables.get("CI") and at_hand(variables)


def show(address: str) -> bool:
    """Open the address; whether there was a browser with a window for it. Some take seconds to say so."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    return PurePath(browser.name).name not in IN_TERMINALS and browser.open(address)


def show_soon(address: str, plain: str) -> None:
    """The same beside a server that runs. A note that names the `plain` address, which holds no token, if it failed."""

    def run() -> None:
        if not show(address):
            output.note(f"there is no browser to open {plain} in")

    Thread(target=run, name="browser", daemon=True).start()
