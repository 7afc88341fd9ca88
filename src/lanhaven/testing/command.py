"""What `lanhaven mock` runs: the mock server in the foreground, until a signal ends it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lanhaven.testing.models import MockModel, entries_of, read_script

DEFAULT_PORT = 1235  # one beside LM Studio's own

Event = Callable[[str, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class MockInfo:
    """What the banner tells. moved: the default port was taken. replies: steps of the script."""

    url: str
    models: tuple[str, ...]
    replies: int
    moved: bool
    seconds: float  # from the start to the first answer


def run(
    models: Sequence[MockModel],
    script: Path | None,
    on_ready: Callable[[MockInfo], None],
    on_event: Event,
    on_stop: Callable[[], None],
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    api_key: str | None = None,
) -> None:
    """Serve. port None: 1235, or the next free one. on_event gets what the debug stream would: name and fields. on_stop
    is called when a signal has come: what is under way may last a moment.

    GatewayError for what keeps it from starting: a port taken, a wrong script, an open address without a strong key.
    """
    began = time.monotonic()
    from lanhaven.server import listener
    from lanhaven.server.debug import event_json
    from lanhaven.server.shutdown import Shutdown
    from lanhaven.server.sockets import Address, IfTaken
    from lanhaven.testing.serving import Running, mock_settings, serve

    file = read_script(script) if script is not None else None
    entries = file.entries if file is not None and file.entries and not models else entries_of(models)
    steps = file.steps if file is not None else []
    address = Address(host, DEFAULT_PORT, IfTaken.NEXT) if port is None else Address(host, port)

    def ready(running: Running) -> None:
        running.provider.script.add(*steps)
        running.services.bus.listen(lambda event: on_event(event.name, event_json(event)))
        bound = int(running.url.rpartition(":")[2])
        names = tuple(each.key for each in running.services.catalog.models())
        moved = port is None and bound != DEFAULT_PORT
        on_ready(MockInfo(running.url, names, len(steps), moved, time.monotonic() - began))

    shutdown = Shutdown()
    shutdown.on_drain(on_stop)
    with mock_settings(entries, host=host, api_key=api_key) as settings:
        listener.run(serve(settings, address, shutdown, ready))
