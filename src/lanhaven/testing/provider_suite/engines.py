"""The engines behind a provider, past the provider: how many there are, and what may happen to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import psutil


class Engines(Protocol):
    """What the suite does to the one engine that runs, or to the server that is asked."""

    def holding(self) -> int:
        """How many engines run, or how many models the server holds."""
        ...

    async def crash(self) -> None:
        """End it, as an accident would."""
        ...

    async def hang(self) -> None:
        """It is there, and does not answer: for ever, or at least once."""
        ...

    async def mend(self) -> None:
        """It runs again after a crash or a hang, where starting it is not the provider's business."""
        ...


class ChildProcesses:
    """Those that this process gets from now on: the engines of a provider that starts them itself."""

    def __init__(self) -> None:
        self._others = frozenset(psutil.Process().children(recursive=True))

    def alive(self) -> Sequence[psutil.Process]:
        """And their children, the youngest last."""
        found = frozenset(psutil.Process().children(recursive=True)) - self._others
        living = [each for each in found if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
        return sorted(living, key=psutil.Process.create_time)

    def holding(self) -> int:
        return len(self.alive())

    async def crash(self) -> None:
        """SIGKILL for the youngest: a program, and not what was started to watch it."""
        self.alive()[-1].kill()

    async def hang(self) -> None:
        """SIGSTOP for the youngest."""
        self.alive()[-1].suspend()

    async def mend(self) -> None:
        return None
