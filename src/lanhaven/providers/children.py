"""Providers whose instances are child processes, and their books: which run, where, what their logs said last.

Each instance is one child with a socket and a random key of its own; `engines/` runs it. docs/engines.md says more.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from lanhaven.engines.child import to_the_end
from lanhaven.engines.llamacpp_log import abort_reason, reason, without_requests
from lanhaven.engines.page_cache import read_through
from lanhaven.engines.probe import Address
from lanhaven.engines.process import EngineProcess, Plan, Timers
from lanhaven.errors import GatewayError, InstanceConflict, LoadFailed, ProviderUnavailable
from lanhaven.providers.base import Loaded, LoadObserver, ProviderContext, Running
from lanhaven.providers.defaults import Defaults
from lanhaven.types.models import ModelInfo, Upstream

SOCKET_PATH_BYTES = 103  # macOS allows 104 with the final zero, Linux 108
UNIX_SOCKETS = sys.platform != "win32"
OLD_LOGS = 16  # ended instances whose last lines are kept
FREE_SHARE = 0.8  # of the memory that is available: larger files are not read ahead


class Progress:
    """Tells the observer the stages of a load; between them, that the engine is at work."""

    def __init__(self, observer: LoadObserver, read: Callable[[str], tuple[str, float | None] | None]) -> None:
        """`read`: the stage that a line of the log tells, with its share where there is one."""
        self._observer = observer
        self._read = read
        self._stage = "starting"
        self._since = 0.0

    def stage(self, name: str, fraction: float | None = None) -> None:
        self._stage, self._since = name, asyncio.get_running_loop().time()
        self._observer.progress(name, fraction)

    def line(self, line: str) -> None:
        if (told := self._read(line)) is not None:
            self.stage(*told)

    def effort(self) -> None:
        """A stage that takes long says how long already: a sign of life must say something new."""
        seconds = asyncio.get_running_loop().time() - self._since
        self._observer.progress(f"{self._stage} ({seconds:.0f} s)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a child will listen, and the key that it will ask for. `address` None: a port of its own choice."""

    address: Address | None
    key: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def listen(self) -> str:
        """What the child is told."""
        return self.address.socket if self.address is not None and self.address.socket else "127.0.0.1"

    def upstream(self, process: EngineProcess, model: str, **facts: Any) -> Upstream:
        """Where the child takes requests, now that it is ready. `facts`: what else is known of it."""
        address = process.address or Address()
        headers = (("authorization", f"Bearer {self.key}"),)
        return Upstream(model, base_url=address.base_url, socket=address.socket, headers=headers, **facts)


@dataclass(slots=True)
class _Engine:
    """A child and what runs in it; `loaded` is None while it loads. `gone`: it ended by itself, or is about to."""

    process: EngineProcess
    model_key: str
    loaded: Loaded | None = None
    gone: bool = False


class Children:
    """`start` makes an instance, `unload` ends it. All in the event loop's thread."""

    def __init__(self, folder: Path, *, unix_sockets: bool = UNIX_SOCKETS) -> None:
        """ProviderUnavailable: the folder's path is too long for sockets in it."""
        self._folder = folder
        self._unix_sockets = unix_sockets
        self._engines: dict[str, _Engine] = {}
        self._old_logs: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        if unix_sockets and len(bytes(self._new_socket())) > SOCKET_PATH_BYTES:
            raise ProviderUnavailable(
                f"The run folder's path is too long for a unix socket ({SOCKET_PATH_BYTES} bytes).",
                hint="Set run_dir to a shorter path.",
            )

    def place(self) -> Place:
        return Place(Address(str(self._new_socket())) if self._unix_sockets else None)

    def _new_socket(self) -> Path:
        """llama.cpp takes an address for a unix socket if it ends in ".sock"."""
        return self._folder / f"{secrets.token_hex(4)}.sock"

    async def start(
        self,
        instance_id: str,
        model_key: str,
        observer: LoadObserver,
        make: Callable[[Callable[[GatewayError], None]], EngineProcess],
        loaded: Callable[[EngineProcess, Mapping[str, Any], int], Loaded],
    ) -> Loaded:
        """Start the child that `make` gives (it is handed what to call when the child ends by itself), wait until it is
        ready, and return what `loaded` makes of (child, its ready message, bytes of memory).

        However this ends but by returning, the child has ended before.
        """
        if (former := self._engines.get(instance_id)) is not None and former.gone:
            await self.unload(instance_id)  # its end is under way
        if instance_id in self._engines:
            raise InstanceConflict(f"Instance {instance_id} runs already.", param="instance_id")

        def gone(error: GatewayError) -> None:
            engine.gone = True
            observer.gone(error)

        process = make(gone)
        engine = self._engines[instance_id] = _Engine(process, model_key)
        try:
            ready = await process.start()
            engine.loaded = replace(loaded(process, ready, await process.memory()), ours=True)
            return engine.loaded
        finally:
            if engine.loaded is None:
                await to_the_end(asyncio.ensure_future(self.unload(instance_id)))

    async def instances(self) -> Sequence[Running]:
        running = {name: engine for name, engine in self._engines.items() if engine.loaded and not engine.gone}
        sizes = await asyncio.gather(*(engine.process.memory() for engine in running.values()))
        return [
            Running(name, engine.model_key, size, engine.loaded.upstream, engine.loaded.load_config)
            for (name, engine), size in zip(running.items(), sizes, strict=True)
            if engine.loaded is not None
        ]

    async def unload(self, instance_id: str) -> None:
        engine = self._engines.get(instance_id)
        if engine is None:
            return
        await engine.process.stop()
        if self._engines.get(instance_id) is engine:
            del self._engines[instance_id]
            self._keep_log(instance_id, engine.process.log())

    def _keep_log(self, instance_id: str, lines: tuple[str, ...]) -> None:
        self._old_logs.pop(instance_id, None)
        self._old_logs[instance_id] = lines
        while len(self._old_logs) > OLD_LOGS:
            self._old_logs.popitem(last=False)

    def logs(self, instance_id: str) -> Sequence[str]:
        """Also of instances that ended lately: that is when one wants to read them."""
        engine = self._engines.get(instance_id)
        return engine.process.log() if engine is not None else self._old_logs.get(instance_id, ())

    async def aclose(self) -> None:
        await asyncio.gather(*(self.unload(instance_id) for instance_id in tuple(self._engines)))

    def __repr__(self) -> str:
        return ", ".join(self._engines) or "nothing loaded"


@dataclass(frozen=True, slots=True)
class Load:
    """One load of a model's files. `plan`: how its child is started there; `loaded`: what it is, of (place, child, its
    ready message, bytes of memory)."""

    key: str
    instance_id: str
    parts: Sequence[Path]
    observer: LoadObserver
    progress: Progress
    plan: Callable[[Place], Plan]
    loaded: Callable[[Place, EngineProcess, Mapping[str, Any], int], Loaded]


class ChildProvider:
    """What providers have in common whose instances are children."""

    def __init__(self, context: ProviderContext, defaults: Defaults, timers: Timers, *, unix_sockets: bool) -> None:
        """ProviderUnavailable: the run folder's path is too long."""
        self.name = context.name
        self._folder = context.run_dir
        self._timers = defaults.timers(timers)
        self._children = Children(context.run_dir, unix_sockets=unix_sockets)

    async def models(self) -> Sequence[ModelInfo]:
        return ()

    async def _run(self, load: Load) -> Loaded:
        """Read the files into the page cache, then start a child whose log reads like llama.cpp's."""
        progress = load.progress
        room = int(psutil.virtual_memory().available * FREE_SHARE)
        await read_through(load.parts, room, lambda fraction: progress.stage("reading", fraction))
        progress.stage("starting")
        place = self._children.place()

        def make(gone: Callable[[GatewayError], None]) -> EngineProcess:
            return EngineProcess(
                load.plan(place),
                timers=self._timers,
                explain=reason,
                explain_crash=abort_reason,
                admit=without_requests,
                on_line=progress.line,
                on_effort=progress.effort,
                on_gone=gone,
            )

        return await self._children.start(
            load.instance_id,
            load.key,
            load.observer,
            make,
            lambda process, ready, size: load.loaded(place, process, ready, size),
        )

    async def instances(self) -> Sequence[Running]:
        return await self._children.instances()

    async def unload(self, instance_id: str) -> None:
        await self._children.unload(instance_id)

    def logs(self, instance_id: str) -> Sequence[str]:
        return self._children.logs(instance_id)

    async def aclose(self) -> None:
        await self._children.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._children!r})"


def as_load_failure(error: GatewayError, key: str) -> LoadFailed:
    """A file or setting that turns out to be unfit when it is loaded is the model's fault, not the request's."""
    return LoadFailed(f"{key} could not be loaded: {error.message}", hint=error.hint, facts=error.facts)
