"""LanHaven on its mock provider: the whole server, with settings of its own and none of the machine's."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanhaven.errors import InvalidRequest

if TYPE_CHECKING:
    from lanhaven.config import Settings
    from lanhaven.providers.mock import MockProvider
    from lanhaven.server.services import Services
    from lanhaven.server.shutdown import Shutdown
    from lanhaven.server.sockets import Address

LONGEST_RUN_DIR = 70  # bytes, for paths of sockets lie in it


@dataclass(frozen=True, slots=True)
class Running:
    """A mock server that answers. Belongs to its event loop."""

    url: str
    services: Services
    provider: MockProvider
    shutdown: Shutdown


@contextmanager
def mock_settings(entries: Sequence[dict[str, Any]], *, host: str, api_key: str | None = None) -> Iterator[Settings]:
    """Settings for these models, in a folder that goes with the block. Neither environment nor config.yaml is read."""
    from pydantic import SecretStr

    from lanhaven.config.settings import Settings

    folder = _folder()
    try:
        said = {"default_model": _first(entries), "models": list(entries)}
        (folder / "models.yaml").write_text(json.dumps(said), encoding="utf-8")
        yield Settings(
            mock=True,
            host=host,
            models_file=folder / "models.yaml",
            config_dir=folder,
            data_dir=folder,
            state_dir=folder,
            cache_dir=folder,
            run_dir=folder,
            api_key=SecretStr(api_key) if api_key is not None else None,
            cors_origins=("*",),
            max_loaded_models=64,
            history=False,
            drain_timeout=1.0,
            max_connections=256,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _first(entries: Sequence[dict[str, Any]]) -> str | None:
    """The model of requests that name none: the first that chats."""
    chatting = (each["id"] for each in entries if (each.get("config") or {}).get("kind", "llm") in ("llm", "vlm"))
    return next(chatting, None)


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="lh-"))
    if len(str(folder).encode()) <= LONGEST_RUN_DIR or sys.platform == "win32":
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="lh-", dir="/tmp"))


async def serve(settings: Settings, address: Address, shutdown: Shutdown, on_ready: Callable[[Running], None]) -> None:
    """Until `shutdown` begins, or a signal comes to the main thread. GatewayError if it cannot start."""
    from lanhaven.gateway import SHUTDOWN
    from lanhaven.keys.exposure import check_bind
    from lanhaven.keys.store import KeyStore
    from lanhaven.providers.mock import MockProvider
    from lanhaven.server import listener
    from lanhaven.server.build import build, sockets_folder
    from lanhaven.server.compose import compose
    from lanhaven.server.limits import ListenerLimits
    from lanhaven.server.startup import unfit
    from lanhaven.server.steady import keep_current

    services = build(settings, lambda: shutdown.draining)
    provider = services.providers["mock"]
    try:
        await services.catalog.refresh()
        problems = [*services.catalog.problems, *unfit(services)]
        if problems or not isinstance(provider, MockProvider):
            raise InvalidRequest("; ".join(problems), hint="docs/mock.md names a mock model's settings")
        shutdown.on_abort(lambda: services.gateway.abort_all(SHUTDOWN))
        shutdown.on_drain(services.close_streams)
        keys = KeyStore.from_settings(settings)
        check_bind(settings, keys)
        secured = compose(services, keys)
        sweeping = asyncio.create_task(keep_current(services))
        try:
            await listener.serve(
                secured,
                [address],
                ListenerLimits.from_settings(settings),
                on_ready=lambda where: on_ready(Running(where[0].url, services, provider, shutdown)),
                shutdown=shutdown,
                admits=secured.admits_peer,
            )
        finally:
            sweeping.cancel()
            await asyncio.gather(sweeping, return_exceptions=True)
    finally:
        await services.aclose(0)
        shutil.rmtree(sockets_folder(settings), ignore_errors=True)
