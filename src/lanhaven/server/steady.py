"""What goes on as long as the server does, again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from itertools import count
from typing import Any

from lanhaven.keys.store import KeyStore
from lanhaven.server.services import Services

SWEEP_SECONDS = 1.5
LOOK_SECONDS = 0.5  # between two looks at models.yaml; a change counts at the second one that finds it alike
KEEP_SECONDS = 30.0  # between two times that the use of keys is written down
LAN_SECONDS = 20.0  # between two looks at the addresses of this machine, and at its certificate
STEPS_PER_ASK = 2  # lists of models are long, and change seldom; who did not answer is asked every time (F-020)

_log = logging.getLogger(__name__)


def steady_work(services: Services, keys: KeyStore) -> tuple[Coroutine[Any, Any, None], ...]:
    """All of it, each until cancelled."""
    return (
        keep_current(services),
        every(LOOK_SECONDS, services.reloading.look),  # F-172
        every(KEEP_SECONDS, keys.keep),
        every(LAN_SECONDS, services.lan.look),
    )


async def keep_current(services: Services, interval: float = SWEEP_SECONDS) -> None:
    """End what is idle, and see what people did elsewhere, e.g. in LM Studio's window, until cancelled (F-023)."""
    steps = count(1)

    async def sweep() -> None:
        if next(steps) % STEPS_PER_ASK == 0 or not services.catalog.complete:
            await services.catalog.ask()  # first: an instance is taken over only if its model is known
        await services.pool.sweep()
        await services.keep()

    await every(interval, sweep)


async def every(seconds: float, step: Callable[[], Awaitable[None]]) -> None:
    """Take this step until cancelled. A defect in one step is logged, once while it stays the same, and the next step
    is taken all the same: else nothing would be idle any more, and no change seen, for as long as the server runs."""
    told = ""
    while True:
        await asyncio.sleep(seconds)
        try:
            await step()
        except Exception as error:  # noqa: BLE001 - see above
            if told != (told := repr(error)):
                _log.error("%s failed, and is tried again", step.__qualname__, exc_info=error)
        else:
            told = ""
