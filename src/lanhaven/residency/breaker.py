"""The crash-loop breaker: a model that keeps failing is left alone for a while, then tried once (F-004)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from lanhaven.errors import ClientError, GatewayError, InternalError, ProviderError, ProviderUnavailable


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

    def on_probation(self, now: float) -> bool:
        return self.open_until is not None and now <= self.open_until + self.window

    def seconds_left(self, now: float) -> float:
        """How long it still refuses; 0 = it lets a load through."""
        return max(0.0, (self.open_until or now) - now)

    def describe(self, now: float) -> str:
        if left := self.seconds_left(now):
            return f"open for {left:.0f} s"
        return "on probation" if self.on_probation(now) else f"{len(self.failures)} failures"


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
        """Model key -> "open for 12 s", "on probation", "2 failures"."""
        return {key: breaker.describe(now) for key, breaker in self._breakers.items()}
