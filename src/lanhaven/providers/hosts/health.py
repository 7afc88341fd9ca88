"""How the hosts of a provider do, and what an answer of several of them is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lanhaven.errors import GatewayError
from lanhaven.providers.base import Health

HEALTH_SECONDS = 1.5  # that a host has to answer: a provider must have told within 2


@dataclass(frozen=True, slots=True)
class Pulse:
    """How one host does, asked just now. error: in what way it does not answer ("is not running"). note: what else a
    person should know. models: how many it has told of."""

    name: str
    address: str
    models: int = 0
    version: str | None = None
    seconds: float | None = None
    error: str | None = None
    note: str | None = None

    @property
    def line(self) -> str:
        if self.error is not None:
            return f"{self.name} {self.error.rstrip('.')}"
        note = f", {self.note}" if self.note else ""
        return f"{self.name} {self.version or 'answers'}, {self.models} models{note}"


def health_of(pulses: Sequence[Pulse]) -> Health:
    """Well, if one of them is. No host: not configured."""
    if not pulses:
        return Health(False, "server", "not configured")
    up = [pulse for pulse in pulses if pulse.error is None]
    return Health(
        ok=bool(up),
        kind="server",
        detail="; ".join(pulse.line for pulse in pulses),
        version=next((pulse.version for pulse in up if pulse.version), None),
        latency_ms=min((pulse.seconds for pulse in up if pulse.seconds is not None), default=0) * 1000 or None,
        address=", ".join(pulse.address for pulse in pulses),
        models=sum(pulse.models for pulse in pulses),
        down=tuple(pulse.name for pulse in pulses if pulse.error is not None and pulse.name),
    )


def raise_if_all_failed(answers: Sequence[object]) -> None:
    """Of `gather(..., return_exceptions=True)`. What is no GatewayError is a defect, and is raised in any case."""
    failures = [each for each in answers if isinstance(each, BaseException)]
    defect = next((each for each in failures if not isinstance(each, GatewayError)), None)
    if defect is not None:
        raise defect
    if failures and len(failures) == len(answers):
        raise failures[0]
