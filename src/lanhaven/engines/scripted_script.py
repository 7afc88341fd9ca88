"""A script for several scripted servers at once: what the next requests get, whichever server they reach.

It outlives the servers: replies can be laid out before a model is loaded, and what was asked read after it was
unloaded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from lanhaven.engines.connection import Seen
from lanhaven.engines.scripted_answers import last_user_text
from lanhaven.engines.scripted_faults import Fault, fault_of
from lanhaven.errors import InvalidRequest

REMEMBERED = 1000  # requests


@dataclass(frozen=True, slots=True)
class Step:
    """`fault` for the requests that fit: those to `model`, those whose last user message holds `when`. always: it is
    not used up."""

    fault: Fault
    model: str | None = None
    when: str | None = None
    always: bool = False

    def fits(self, seen: Seen) -> bool:
        """Whether this step is meant for the request."""
        body: Mapping[str, Any] = seen.body if isinstance(seen.body, dict) else {}
        if self.fault.path not in (None, seen.path) or self.model not in (None, body.get("model")):
            return False
        return self.when is None or self.when.casefold() in last_user_text(body).casefold()


class Script:
    """Steps that are used up come first, in order; then those that stay, in order. `seen`: the last requests."""

    def __init__(self) -> None:
        self.seen: deque[Seen] = deque(maxlen=REMEMBERED)
        self._steps: list[Step] = []

    def add(self, *steps: Step) -> None:
        """More steps."""
        self._steps += steps

    def clear(self) -> None:
        """Forget the steps and what was seen."""
        self._steps.clear()
        self.seen.clear()

    def take(self, seen: Seen) -> Fault | None:
        """What this request gets; None if nothing is said of it."""
        self.seen.append(seen)
        for step in sorted(self._steps, key=lambda each: each.always):
            if step.fits(seen):
                self._use(step)
                return step.fault
        return None

    def _use(self, step: Step) -> None:
        if step.always:
            return
        place = self._steps.index(step)
        if step.fault.times > 1:
            self._steps[place] = replace(step, fault=replace(step.fault, times=step.fault.times - 1))
        else:
            del self._steps[place]

    def __repr__(self) -> str:
        return f"Script({len(self._steps)} steps, {len(self.seen)} seen)"


def step_of(value: object) -> Step:
    """A step as files write it: a text to answer, or the fields of a Fault with `model`, `when`, `always`.

    InvalidRequest says what is wrong.
    """
    if isinstance(value, str):
        return Step(Fault(text=value))
    if not isinstance(value, dict):
        raise InvalidRequest("A reply of the script must be a text, or an object.", param="replies")
    own = {name: value[name] for name in ("model", "when", "always") if name in value}
    fault = fault_of({name: each for name, each in value.items() if name not in own})
    try:
        return msgspec.convert({"fault": fault, **own}, Step)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"A reply of the script is wrong: {error}.", param="replies") from None
