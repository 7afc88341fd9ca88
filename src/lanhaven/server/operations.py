"""When the loads and unloads under way began (S0-x5): a listener of the bus."""

from __future__ import annotations

from lanhaven.events import (
    Failure,
    GatewayEvent,
    ModelLoadComplete,
    ModelLoadStart,
    ModelUnloadComplete,
    ModelUnloadStart,
)

HEARD = (ModelLoadStart, ModelUnloadStart, ModelLoadComplete, ModelUnloadComplete, Failure)


class Operations:
    """Instance id -> nanoseconds since the epoch, for what has begun and not ended."""

    def __init__(self) -> None:
        self._began: dict[str, int] = {}

    def listen(self, event: GatewayEvent) -> None:
        """Take one event in; called by the bus for those of HEARD."""
        match event:
            case ModelLoadStart() | ModelUnloadStart():
                self._began[event.instance_id] = event.at
            case ModelLoadComplete() | ModelUnloadComplete():
                self._began.pop(event.instance_id, None)
            case Failure(request_id=None, instance_id=str() as instance_id):
                self._began.pop(instance_id, None)
            case _:
                pass

    def began(self, instance_id: str) -> int | None:
        """None if nothing is under way, or what is has not begun yet (it waits for room)."""
        return self._began.get(instance_id)

    def __repr__(self) -> str:
        return f"Operations({', '.join(sorted(self._began)) or 'none'})"
