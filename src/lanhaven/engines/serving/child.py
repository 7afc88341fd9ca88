"""Runs an engine that has no server of its own: loads it in a thread, answers on its socket from the beginning on.

It is ended by a signal or by the end of its standard input, at any time and with nothing left to do: a process's end is
the only thing that gives all memory back.
"""

from __future__ import annotations

import asyncio
import os
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NoReturn

from lanhaven.engines.guard import Parent
from lanhaven.engines.serving.jobs import Computing
from lanhaven.engines.serving.log import Log
from lanhaven.engines.serving.mailbox import Mailbox
from lanhaven.engines.serving.server import Server
from lanhaven.engines.serving.service import Service


@dataclass(frozen=True, slots=True)
class Ready:
    """A model that can be asked. `facts`: what the ready message tells of it."""

    service: Service
    computing: Computing
    facts: Mapping[str, object] = field(default_factory=dict)


Load = Callable[[Mapping[str, Any], Mailbox, Log], Ready]


def versions(*packages: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def fail(parent: Parent, log: Log, message: str) -> NoReturn:
    log.failure(message)
    parent.say("failed", message=message)
    os._exit(1)  # threads of the engine and of ours may be at work: nobody waits for them


def run(parent: Parent, log: Log, settings: Mapping[str, Any], load: Load) -> None:
    """Never returns. `load` runs in the thread that will compute; whatever it raises is told as the load's failure."""
    asyncio.run(_serve(parent, log, settings, load))


async def _serve(parent: Parent, log: Log, settings: Mapping[str, Any], load: Load) -> None:
    loop = asyncio.get_running_loop()
    server = Server(str(settings.get("api_key") or ""), log)
    try:
        port = await server.listen(str(settings["listen"]))
    except OSError as error:
        fail(parent, log, f"cannot listen: {error.strerror}")

    def opened(ready: Ready) -> None:
        server.service = ready.service
        log.stage("listening")
        parent.say("ready", port=port, **ready.facts)

    def work() -> None:
        ready = _loaded(parent, log, settings, load, Mailbox(loop, log))
        loop.call_soon_threadsafe(opened, ready)
        try:
            ready.computing.run()
        finally:  # it never returns: without it nothing would ever be answered again
            traceback.print_exc()
            os._exit(70)

    threading.Thread(target=work, name="engine", daemon=True).start()
    await loop.create_future()


def _loaded(parent: Parent, log: Log, settings: Mapping[str, Any], load: Load, mailbox: Mailbox) -> Ready:
    try:
        return load(settings, mailbox, log)
    except Exception as error:  # noqa: BLE001 - files of strangers, read by a large library: whatever it is, it is told
        traceback.print_exc()
        fail(parent, log, f"{type(error).__name__}: {error} ({log.at})")
