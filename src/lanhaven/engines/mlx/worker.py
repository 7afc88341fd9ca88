"""The child that runs MLX: `python -m lanhaven.engines.mlx.worker`.

The main thread serves HTTP and knows text; another loads the model and computes. It is ended by a signal or by the end
of its standard input, at any time and with nothing left to do: a process's end is the only thing that gives all memory
back.
"""

from __future__ import annotations

import asyncio
import os
import threading
import traceback
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lanhaven.engines.guard import Parent
from lanhaven.engines.mlx.log import Log

PACKAGES = ("mlx-lm", "mlx")


def main() -> None:
    parent, log = Parent(), Log()
    settings = parent.settings()
    try:
        import mlx.core as mx
        import mlx_lm  # noqa: F401 - whether it is whole
    except ImportError as error:
        _fail(parent, log, f"mlx-lm cannot be used: {error}")
        return
    facts = {"versions": versions(), "devices": [_device(mx)]}
    if settings.get("only_devices"):
        parent.say("ready", port=0, **facts)
        threading.Event().wait()
    asyncio.run(_serve(parent, log, settings, facts))


def versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def _device(mx: Any) -> dict[str, Any]:
    told = mx.device_info()
    gpu = mx.default_device() == mx.Device(mx.gpu)
    name = str(told.get("device_name") or told.get("architecture") or "MLX")
    return {"type": "GPU" if gpu else "CPU", "description": name, "memory_total": int(told.get("memory_size") or 0)}


def _fail(parent: Parent, log: Log, message: str) -> None:
    log.failure(message)
    parent.say("failed", message=message)
    os._exit(1)  # threads of mlx and of ours may be at work: nobody waits for them


async def _serve(parent: Parent, log: Log, settings: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    from lanhaven.engines.mlx.commands import Mailbox
    from lanhaven.engines.mlx.server import Server

    loop = asyncio.get_running_loop()
    server = Server(str(settings.get("api_key") or ""), log)
    try:
        port = await server.listen(str(settings["listen"]))
    except OSError as error:
        _fail(parent, log, f"cannot listen: {error.strerror}")
    mailbox = Mailbox(loop, log)
    work = _Work(parent, log, settings, facts, server, mailbox, loop, port)
    threading.Thread(target=work.run, name="mlx", daemon=True).start()
    await loop.create_future()


class _Work:
    """What the computing thread does: load, say so, compute until the process ends."""

    def __init__(
        self,
        parent: Parent,
        log: Log,
        settings: Mapping[str, Any],
        facts: Mapping[str, Any],
        server: Any,
        mailbox: Any,
        loop: asyncio.AbstractEventLoop,
        port: int,
    ) -> None:
        self._parent, self._log = parent, log
        self._settings, self._facts = settings, facts
        self._server, self._mailbox, self._loop, self._port = server, mailbox, loop, port

    def run(self) -> None:
        from lanhaven.engines.mlx.loading import load_model

        try:
            loaded = load_model(self._settings, self._mailbox, self._log)
            service = self._service(loaded)
        except Exception as error:  # noqa: BLE001 - files of strangers, read by a large library: whatever it is, it is told
            traceback.print_exc()
            _fail(self._parent, self._log, f"{type(error).__name__}: {error} ({self._log.at})")
            return
        self._loop.call_soon_threadsafe(self._open, service, loaded)
        try:
            loaded.computing.run()
        finally:  # it never returns: without it nothing would ever be answered again
            traceback.print_exc()
            os._exit(70)

    def _service(self, loaded: Any) -> Any:
        from lanhaven.engines.mlx.grammar import Grammars
        from lanhaven.engines.mlx.loading import defaults_of
        from lanhaven.engines.mlx.prompts import Prompts
        from lanhaven.engines.mlx.replying import Model
        from lanhaven.engines.mlx.server import Service
        from lanhaven.engines.mlx.speech import Marks

        settings = self._settings
        model = Model(
            str(settings["alias"]),
            int(settings["context"]),
            Prompts(loaded.tokenizer),
            Marks.of(loaded.tokenizer),
            loaded.computing,
        )
        grammars = Grammars(loaded.tokenizer._tokenizer, loaded.ends)  # llguidance wants Hugging Face's own
        return Service(model, defaults_of(Path(settings["model"])), grammars)

    def _open(self, service: Any, loaded: Any) -> None:
        self._server.service = service
        self._log.stage("listening")
        self._parent.say(
            "ready",
            port=self._port,
            slots=loaded.slots,
            cache=loaded.cache,
            rotates=loaded.rotates,
            tools=bool(loaded.tokenizer.has_tool_calling),
            thinks=bool(loaded.tokenizer.has_thinking),
            **self._facts,
        )


if __name__ == "__main__":
    main()
