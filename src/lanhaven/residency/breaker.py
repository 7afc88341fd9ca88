"""The crash-loop breaker: a model that keeps failing is left alone for a while, then tried once (F-004). And engines
that live and fail what they are asked (F-015)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from lanhaven.errors import (
    ClientError,
    GatewayError,
    InternalError,
    ProviderError,
    ProviderUnavailable,
    UpstreamError,
)


def counts(error: GatewayError) -> bool:
    """Whether a failure speaks against the model. An unreachable provider does not: it is back when it is back."""
    return isinstance(error, ProviderError | InternalError) and not isinstance(error, ProviderUnavailable | ClientError)


@dataclass(slots=True)
class Breaker:
    """State of one model. After a pause it is on probation: for one `window`, a single failure opens it again."""

    failures_allowed: int
    window: float
    pause: float
    failures: deque[float] = field(default_factory=deque)
    open_until: float | None = None
    last: str = ""

    def failed(self, now: float, error: GatewayError) -> None:
        self.last = error.message
        self.failures.append(now)
        while self.failures[0] < now - self.window:
            self.failures.popleft()
        if len(self.failures) >= self.failures_allowed or self.on_probation(now):
            self.open_until = now + self.pause

    def rest(self, now: float, seconds: float, error: GatewayError) -> None:
        """Open at once, for so long at least."""
        self.last = error.message
        self.open_until = max(self.open_until or now, now + seconds)

    def on_probation(self, now: float) -> bool:
        return self.open_until is not None and now <= self.open_until + self.window

    def seconds_left(self, now: float) -> float:
        """How long it still refuses; 0 = it lets a load through."""
        return max(0.0, (self.open_until or now) - now)

    def describe(self, now: float) -> str:
        if left := self.seconds_left(now):
            return f"open for {left:.0f} s"
        if self.on_probation(now):
            return "on probation"
        recent = sum(each >= now - self.window for each in self.failures)
        return f"{recent} failure{'s' if recent > 1 else ''}" if recent else ""


class Breakers:
    """One breaker for each model that has failed."""

    def __init__(self, failures: int, window: float, pause: float) -> None:
        self._figures = (failures, window, pause)
        self._breakers: dict[str, Breaker] = {}

    def failed(self, model_key: str, error: GatewayError, now: float) -> None:
        if counts(error):
            self._breakers.setdefault(model_key, Breaker(*self._figures)).failed(now, error)

    def check(self, model_key: str, now: float) -> None:
        """Raises ProviderUnavailable (503 with Retry-After) while the model's breaker is open."""
        breaker = self._breakers.get(model_key)
        if breaker is None or not (left := breaker.seconds_left(now)):
            return
        raise ProviderUnavailable(
            f"Model {model_key} failed {len(breaker.failures)} times within {breaker.window:.0f} s and is not tried "
            f"again for {left:.0f} s. The last failure: {breaker.last}",
            hint=f"read the engine's log, then load it by hand: lanhaven load {model_key}",
            retry_after=max(1.0, left),
            facts={"failures": len(breaker.failures), "open_seconds": left},
        )

    def reset(self, model_key: str) -> None:
        self._breakers.pop(model_key, None)

    def states(self, now: float) -> dict[str, str]:
        """Model key -> "open for 12 s", "on probation", "2 failures", for those that failed lately."""
        return {key: state for key, breaker in self._breakers.items() if (state := breaker.describe(now))}


def is_fault(error: GatewayError) -> bool:
    """Whether an engine itself said that it failed: it answered with a status from 500 on, and not because the request
    was wrong, too long, or its client impatient or gone."""
    status = error.facts.get("status")
    return isinstance(error, UpstreamError) and isinstance(status, int) and status >= 500


class Faults:
    """Which requests the engines of this machine failed, since each did one well. The same request sent again does not
    count: a request that no engine could answer must not end one that others use."""

    def __init__(self, allowed: int) -> None:
        self._allowed = allowed
        self._failed: dict[str, set[bytes]] = {}

    def judge(self, instance_id: str, error: GatewayError | None, request: bytes) -> int:
        """How a request ended; `request`: what tells it from others. How many were failed, if too many; else 0."""
        if error is None:
            self._failed.pop(instance_id, None)
        elif is_fault(error):
            failed = self._failed.setdefault(instance_id, set())
            failed.add(request)
            if len(failed) >= self._allowed:
                return len(self._failed.pop(instance_id))
        return 0

    def forget(self, instance_id: str) -> None:
        """The instance ends."""
        self._failed.pop(instance_id, None)
