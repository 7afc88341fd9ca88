"""What would become of an order to load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lanhaven.residency import policy
from lanhaven.residency.ledger import Ledger, Need
from lanhaven.types.models import LoadConfig, ModelInfo


class Verdict(StrEnum):
    """Whether there is memory for it."""

    FITS = "fits"
    AFTER_EVICTION = "fits_after_eviction"  # others leave first, at once or when they are idle
    NO = "does_not_fit"


@dataclass(frozen=True, slots=True)
class Forecast:
    """Bytes of this machine. `evictable_bytes`: what would come free if all that may be evicted left.
    `largest_context`: tokens that would fit into both together; None = none would, or nobody knows."""

    need: Need
    available_bytes: int
    evictable_bytes: int
    verdict: Verdict
    largest_context: int | None
    evicts: tuple[str, ...] = ()  # instances that would have to leave first

    @property
    def fits(self) -> bool:
        """Whether an order would get its memory, what may be evicted for it counted."""
        return self.verdict is not Verdict.NO


NOT_HERE = Forecast(Need(0), 0, 0, Verdict.NO, None)  # a model that cannot run here at all


def forecast(
    ledger: Ledger,
    residents: Sequence[policy.Occupant],
    info: ModelInfo,
    config: LoadConfig,
    limits: policy.Limits,
    now: float,
) -> Forecast:
    """For an operator's order, which counts no places. `config` is effective, as that of an instance."""
    need = ledger.need(info, config)
    want = policy.Want(model_key=info.key, automatic=False, needed_bytes=need.bytes, fresh=True)
    free, evictable = policy.within_reach(residents, limits, now)
    most = ledger.largest_context(info, config, free + evictable)
    decision = policy.plan(residents, want, limits, now)
    return Forecast(need, max(0, free), evictable, _verdict(decision), most, _evicts(decision))


def _evicts(decision: policy.Decision) -> tuple[str, ...]:
    match decision:
        case policy.Load(evict=victims) | policy.Wait(hold=victims):
            return victims
        case _:
            return ()


def _verdict(decision: policy.Decision) -> Verdict:
    match decision:
        case policy.Refuse():
            return Verdict.NO
        case policy.Load(evict=()):
            return Verdict.FITS
        case _:
            return Verdict.AFTER_EVICTION
