"""The books of a provider whose instances are child processes: which run, on which sockets, what their logs said last.

Each instance is one child with a socket and a random key of its own; `engines/` runs it. docs/engines.md says more.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lanhaven.engines.child import to_the_end
from lanhaven.engines.probe import Address
from lanhaven.engines.process import EngineProcess
from lanhaven.errors import GatewayError, InstanceConflict, ProviderUnavailable
from lanhaven.providers.base import Loaded, LoadObserver, Running

SOCKET_PATH_BYTES = 103  # macOS allows 104 with the final zero, Linux 108
UNIX_SOCKETS = sys.platform != "win32"
OLD_LOGS = 16  # ended instances whose last lines are kept


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

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.key}"),)


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
            engine.loaded = loaded(process, ready, await process.memory())
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
