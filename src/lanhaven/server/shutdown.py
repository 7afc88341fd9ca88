"""How the server goes down: drain, then abort, then exit; and what the signals mean."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger("lanhaven.shutdown")

Callback = Callable[[], None]

HURRY = 2.0  # seconds from the second signal to the exit (F-182)


class Shutdown:
    """The state of going down, and who must hear of it.

    `begin` (first signal): `draining` is true from now on; new requests are refused with `ServerShutdown` by the
    application, running ones may finish. `abort` (the listener calls it when the drain time is over): streams end with
    an error frame. `hurry` (second signal): no more waiting. The engines are the caller's, after `serve` returned.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._begun = asyncio.Event()
        self._hurried = asyncio.Event()
        self._aborted = False
        self._on_drain: list[Callback] = []
        self._on_abort: list[Callback] = []
        self._on_reload: list[Callback] = []

    def __repr__(self) -> str:
        return f"Shutdown({'aborted' if self._aborted else 'draining' if self.draining else 'serving'})"

    @property
    def draining(self) -> bool:
        """No new work is taken."""
        return self._begun.is_set()

    @property
    def aborted(self) -> bool:
        """Running streams were told to end."""
        return self._aborted

    @property
    def hurried(self) -> bool:
        """Nobody waits for anything any more."""
        return self._hurried.is_set()

    def on_drain(self, callback: Callback) -> Callback:
        """Call back when draining begins (at once if it has). Returns the function that takes the callback off."""
        return _register(self._on_drain, callback, due=self.draining)

    def on_abort(self, callback: Callback) -> Callback:
        """Call back when running streams must end with an error frame. Returns the function that takes it off again."""
        return _register(self._on_abort, callback, due=self._aborted)

    def on_reload(self, callback: Callback) -> Callback:
        """Call back on SIGHUP. Returns the function that takes the callback off again."""
        return _register(self._on_reload, callback, due=False)

    def begin(self, reason: str) -> None:
        """Stop taking work. The second call means: at once."""
        if self.draining:
            self.hurry()
            return
        log.info("going down: %s", reason)
        self.reason = reason
        self._begun.set()
        _call_all(self._on_drain)

    def hurry(self) -> None:
        """Stop waiting for running requests."""
        self._begun.set()
        self._hurried.set()

    def abort(self) -> None:
        """Tell running streams to end. Only the first call does something."""
        if not self._aborted:
            self._aborted = True
            _call_all(self._on_abort)

    def reload(self) -> None:
        """SIGHUP came."""
        _call_all(self._on_reload)

    async def wait_begun(self) -> None:
        """Until somebody calls `begin`."""
        await self._begun.wait()

    async def wait_hurried(self) -> None:
        """Until somebody calls `hurry`."""
        await self._hurried.wait()


@contextmanager
def signals(shutdown: Shutdown, limit: float) -> Iterator[None]:
    """SIGINT and SIGTERM begin the shutdown (a second one hurries it), SIGHUP reloads. In the main thread only.

    From the first signal the process ends within `limit` seconds, from the second within HURRY, even if the event loop
    hangs: the time is kept by a thread, and set by the handler itself, which runs between two instructions of whatever
    the loop is busy with.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    asked: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        _end_process_in(limit if len(asked) == 1 else HURRY)
        loop.call_soon_threadsafe(shutdown.begin, signal.Signals(number).name)

    def reload(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(shutdown.reload)

    handlers = {signal.SIGINT: stop, signal.SIGTERM: stop}
    if os.name == "posix":
        handlers[signal.SIGHUP] = reload
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            # SIGTERM stays ours once it came: the engines are still to be stopped, under the same time limit.
            if not (asked and number in {signal.SIGINT, signal.SIGTERM}):
                signal.signal(number, handler)


def _end_process_in(seconds: float) -> None:
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()


def _register(callbacks: list[Callback], callback: Callback, *, due: bool) -> Callback:
    callbacks.append(callback)
    if due:
        _call_all([callback])

    def remove() -> None:
        if callback in callbacks:
            callbacks.remove(callback)

    return remove


def _call_all(callbacks: list[Callback]) -> None:
    for callback in tuple(callbacks):
        try:
            callback()
        except Exception:  # one broken listener must not keep the others from hearing
            log.exception("a shutdown callback failed")
