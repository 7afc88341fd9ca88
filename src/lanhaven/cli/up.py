"""`up`: start the server. The only command that imports the server."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lanhaven.cli.failure import CliError, Exit

if TYPE_CHECKING:
    from lanhaven.config import Settings
    from lanhaven.server import ServerInfo


OPENED_WITHIN = 600.0  # seconds; a link that no browser came for must not stay good


class Api(StrEnum):
    """Whose clients the default port should suit."""

    OPENAI = "openai"
    OLLAMA = "ollama"
    BOTH = "both"


Clients = Annotated[
    Api | None, typer.Option("--api", help="Default port for these clients: openai 8080, ollama 11434, both 8080.")
]
Lan = Annotated[bool, typer.Option("--lan", help="Let other machines in; makes an API key if there is none.")]
Tls = Annotated[
    bool, typer.Option("--tls", help="Serve HTTPS, with an own authority that devices can trust (docs/lan.md).")
]
TlsCert = Annotated[
    Path | None, typer.Option("--tls-cert", metavar="FILE", help="Serve HTTPS with this certificate (PEM).")
]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="The key of --tls-cert.")]
Scripted = Annotated[
    str | None, typer.Option("--provider", metavar="mock", help="mock: scripted models, for trying out clients.")
]
Open = Annotated[
    bool, typer.Option("--i-know-this-is-open", help="Serve the network without a key. Anybody can use it.")
]
Detach = Annotated[
    bool, typer.Option("--detach", "-d", help="Start in the background, and come back when it is ready.")
]
ReadyPipe = Annotated[int | None, typer.Option("--ready-pipe", hidden=True)]  # of the process that --detach starts


def up(
    api: Clients = None,
    host: Annotated[
        str | None, typer.Option("--host", metavar="ADDRESS", help="Address to listen on (default 127.0.0.1).")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port to listen on (default 8002).")] = None,
    log_level: Annotated[
        str | None, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning, error or critical.")
    ] = None,
    lan: Lan = False,
    tls: Tls = False,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    models: Annotated[Path | None, typer.Option("--models", metavar="FILE", help="The models.yaml to serve.")] = None,
    open_page: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Open the dashboard in the browser (at a terminal: yes)."),
    ] = None,
    provider: Scripted = None,
    open_to_all: Open = False,
    detach: Detach = False,
    ready_pipe: ReadyPipe = None,
) -> None:
    """Start the server (alias: serve). Ctrl-C stops it, a second Ctrl-C at once."""
    from lanhaven.cli import first_run, up_detached
    from lanhaven.config import load_settings

    if provider not in (None, "mock"):
        raise CliError(
            f"--provider {provider}: only mock can be asked for here; others are named in models.yaml",
            "lanhaven up --provider mock",
            "lanhaven up",
            status=Exit.USAGE,
        )
    if detach and ready_pipe is None:
        raise typer.Exit(up_detached.start())
    flags: dict[str, Any] = {
        "api": api.value if api else None,
        "host": host,
        "port": port,
        "log_level": log_level,
        "lan": lan or None,
        "tls": tls or None,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "models_file": models,
        "mock": True if provider == "mock" else None,
        "open_to_all": open_to_all or None,
    }
    settings = load_settings(flags)
    first_run.refuse_second(settings)
    first_run.prepare(settings)
    gc.disable()  # it would look through what is imported again and again, for a tenth of the time
    from lanhaven.server import run

    gc.enable()
    ready = _telling(_key_for_lan(settings), open_page, "Ctrl-C" if ready_pipe is None else "lanhaven down")
    if ready_pipe is not None:
        ready = up_detached.letting_go(ready_pipe, settings.state_dir, ready)
    raise typer.Exit(run(settings, ready))


def _telling(new_key: str | None, open_page: bool | None, stops: str) -> Callable[[ServerInfo], None]:
    """What is done when the server is ready: the banner, and the page for whoever could see it."""
    from lanhaven import __version__
    from lanhaven.cli import browser, up_banner
    from lanhaven.config.environ import environment

    def ready(info: ServerInfo) -> None:
        up_banner.show(info, __version__, new_key, stops)
        if browser.wanted(open_page, environment(), terminal=sys.stderr.isatty()):
            browser.show_soon(info.link(seconds=OPENED_WITHIN), info.url)

    return ready


def _key_for_lan(settings: Settings) -> str | None:
    """`--lan` without any key: make one. Whoever opened the server to all wanted none."""
    from lanhaven.keys.store import KeyStore

    if not settings.lan or settings.open_to_all:
        return None
    store = KeyStore.from_settings(settings)
    return None if store.list() else store.add("lan")
