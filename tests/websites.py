"""Web pages that are not LanHaven's, for what browsers do with two of them."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a word."""

    extensions_map = {".js": "text/javascript", ".html": "text/html"}  # noqa: RUF012 - the base class has it so

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """The origin of a page that is not LanHaven's."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
