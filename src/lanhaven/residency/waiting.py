"""Those who wait: requests for a lease, and orders to load."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from lanhaven.errors import GatewayError
from lanhaven.residency.lease import Lease
from lanhaven.residency.refusals import fresh
from lanhaven.residency.result import LoadResult
from lanhaven.types.models import LoadConfig, ModelInfo, Sampling

if TYPE_CHECKING:
    from lanhaven.residency.resident import Resident


T = TypeVar("T")


def _future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What is to be loaded. `config` is effective: what was asked, over the model's load profile."""

    info: ModelInfo
    config: LoadConfig
    sampling: Sampling = Sampling()
    automatic: bool = False
    pinned: bool = False
    force: bool = False  # memory is not looked at


@dataclass(slots=True, eq=False, kw_only=True)
class _Awaiting(Generic[T]):
    """Whoever waits for an answer. since: when it came (monotonic). resident: where it waits."""

    since: float
    answer: asyncio.Future[T] = field(default_factory=_future)
    resident: Resident | None = None

    @property
    def open(self) -> bool:
        """Still waiting: not answered, its task not cancelled."""
        return not self.answer.done()

    def fail(self, error: GatewayError) -> None:
        if self.open:
            self.answer.set_exception(fresh(error))

    def given(self) -> T | None:
        """What was given, also if nobody has picked it up yet. Reading an exception marks it as seen: a cancelled
        waiter does not look at it any more."""
        answer = self.answer
        return answer.result() if answer.done() and not answer.cancelled() and answer.exception() is None else None


@dataclass(slots=True, eq=False, kw_only=True)
class Waiter(_Awaiting[Lease]):
    """A request that waits for a lease."""

    info: ModelInfo
    instance_id: str | None
    only: bool = False  # it waits for the instance that it named, not for one loaded in its stead


@dataclass(slots=True, eq=False, kw_only=True)
class Order(_Awaiting["Resident"]):
    """An explicit load that is waited for. `reused`: it found what it wanted there, or on its way."""

    spec: Spec
    instance_id: str | None
    activated: bool
    reused: bool = False

    @property
    def info(self) -> ModelInfo:
        return self.spec.info

    def fulfil(self, resident: Resident) -> None:
        self.resident = None
        if self.open:
            self.answer.set_result(resident)

    def result(self, now: float) -> LoadResult:
        """What the order got; only once it is answered."""
        resident = self.answer.result()
        loaded = resident.loaded
        return LoadResult(
            instance=resident.instance(),
            reused=self.reused,
            seconds=now - self.since,
            applied=loaded.applied if loaded is not None else {},
            ignored=loaded.ignored if loaded is not None else (),
        )
