"""The right to use an instance now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from lanhaven.errors import GatewayError
from lanhaven.residency.refusals import fresh
from lanhaven.types.models import LoadConfig, ModelKind, Sampling, Upstream

if TYPE_CHECKING:
    from lanhaven.residency.resident import Resident

AbortCallback = Callable[[GatewayError], None]


class Lease:
    """Holds an instance: while one is out, the instance is not evicted.

    since: when it was given (monotonic). waited: seconds until then. broken: why the instance ended under it, or None.
    A broken lease counts no longer; releasing it, or releasing twice, is harmless.
    """

    __slots__ = ("_on_abort", "_released", "_resident", "_verdicts", "broken", "since", "upstream", "waited")

    def __init__(self, resident: Resident, upstream: Upstream, since: float, waited: float) -> None:
        self._resident = resident
        self.upstream = upstream
        self.since = since
        self.waited = waited
        self.broken: GatewayError | None = None
        self._released = False
        self._on_abort: AbortCallback | None = None
        self._verdicts: list[asyncio.Future[None]] | None = None

    @property
    def instance_id(self) -> str:
        return self._resident.instance_id

    @property
    def model_key(self) -> str:
        return self._resident.info.key

    @property
    def loading(self) -> float:
        """Seconds of `waited` in which the instance was being loaded, room made for it included."""
        resident = self._resident
        if not self.waited or resident.loaded_at is None:
            return 0.0
        return max(0.0, min(resident.loaded_at, self.since) - max(self.since - self.waited, resident.since))

    @property
    def kind(self) -> ModelKind:
        return self._resident.info.kind

    @property
    def ours(self) -> bool:
        """Whether its engine is a process that this server started."""
        return self._resident.loaded is not None and self._resident.loaded.ours

    @property
    def sampling(self) -> Sampling:
        """The instance's own defaults, as they are now."""
        return self._resident.sampling

    @property
    def load_config(self) -> LoadConfig:
        """As it was really loaded."""
        return self._resident.load_config

    @property
    def on_abort(self) -> AbortCallback | None:
        """Called once, from the event loop, if the instance ends under this lease (or has ended before this is set)."""
        return self._on_abort

    @on_abort.setter
    def on_abort(self, callback: AbortCallback | None) -> None:
        self._on_abort = callback
        if callback is not None and self.broken is not None:
            asyncio.get_running_loop().call_soon(self._tell)

    def release(self) -> None:
        """Give the instance back."""
        if self._released:
            return
        self._released = True
        self._resident.give_back(self)

    def abort(self, error: GatewayError) -> None:
        """The pool's side: the instance has ended. The callback runs in the next turn of the loop, outside the pool."""
        self.broken = fresh(error)
        for verdict in self._verdicts or ():
            if not verdict.done():
                verdict.set_result(None)
        if self._on_abort is not None:
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        callback, self._on_abort = self._on_abort, None
        if callback is not None and self.broken is not None and not self._released:
            callback(self.broken)

    async def cause(self, grace: float) -> GatewayError | None:
        """Why the instance ended, after up to `grace` seconds: sockets often close before a process is known dead."""
        if self.broken is None and not self._released:
            loop = asyncio.get_running_loop()
            verdict: asyncio.Future[None] = loop.create_future()
            self._verdicts = [*(self._verdicts or ()), verdict]
            try:
                await asyncio.wait((verdict,), timeout=grace)
            finally:
                self._verdicts.remove(verdict)
        return self.broken

    async def __aenter__(self) -> Lease:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        state = f"broken by {self.broken!r}" if self.broken else "released" if self._released else "held"
        return f"Lease({self.instance_id} {state})"
