"""`open`: the dashboard in the browser, signed in."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

import typer

from lanhaven.cli import browser, output
from lanhaven.cli.connection import Json, Key, Url, connect


def open_dashboard(
    only_print: Annotated[bool, typer.Option("--print", help="Write the link to stdout, and open nothing.")] = False,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Open the dashboard in the browser. The link signs it in, once, and is good for ten minutes."""
    with connect(url, key) as server:
        made = urlsplit(server.post("/ui/link", {})["url"])
        # Under the address that was asked: a server behind a proxy may not know it.
        link = f"{server.target.url}/" + (f"?{made.query}" if made.query else "")
    if json:
        output.document({"url": link})
    elif only_print or not _shown(link):
        output.data(link)


def _shown(link: str) -> bool:
    from lanhaven.config.environ import environment

    if browser.at_hand(environment()) and browser.show(link):
        return True
    output.note("there is no browser with a window here; open this in one:")
    return False
