"""Those who wait: requests for a lease, and orders to load."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from lanhaven.errors import GatewayError
from lanhaven.residency.lease import Lease
from lanhaven.residency.refusals import fresh
from lanhaven.residency.result import LoadResult
from lanhaven.types.models import LoadConfig, ModelInfo, Sampling

if TYPE_CHECKING:
    from lanhaven.residency.resident import Resident


_T = TypeVar("_T")


def _result(answer: asyncio.Future[_T]) -> _T | None:
    """What an answer holds. Reading its exception marks it as seen: a cancelled waiter does not look at it any more."""
    return answer.result() if answer.done() and not answer.cancelled() and answer.exception() is None else None


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
class Waiter:
    """A request that waits for a lease. `since`: when it came (monotonic)."""

    info: ModelInfo
    instance_id: str | None
    since: float
    only: bool = False  # it waits for the instance that it named, not for one loaded in its stead
    answer: asyncio.Future[Lease] = field(default_factory=_future)
    resident: Resident | None = None  # where it waits

    @property
    def open(self) -> bool:
        """Still waiting: not answered, its task not cancelled."""
        return not self.answer.done()

    def fail(self, error: GatewayError) -> None:
        if self.open:
            self.answer.set_exception(fresh(error))

    def given(self) -> Lease | None:
        """The lease, if one was given; also one that nobody has picked up yet."""
        return _result(self.answer)


@dataclass(slots=True, eq=False, kw_only=True)
class Order:
    """An explicit load that is waited for. `reused`: it found what it wanted there, or on its way."""

    spec: Spec
    instance_id: str | None
    activated: bool
    since: float
    answer: asyncio.Future[Resident] = field(default_factory=_future)
    resident: Resident | None = None
    reused: bool = False

    @property
    def info(self) -> ModelInfo:
        return self.spec.info

    @property
    def open(self) -> bool:
        return not self.answer.done()

    def fail(self, error: GatewayError) -> None:
        if self.open:
            self.answer.set_exception(fresh(error))

    def given(self) -> Resident | None:
        return _result(self.answer)

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
