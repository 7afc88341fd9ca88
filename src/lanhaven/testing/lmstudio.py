"""A stand-in for LM Studio: the whole of LanHaven with scripted models, on a free port, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from lanhaven.engines.scripted_faults import Fault
from lanhaven.engines.scripted_script import Step
from lanhaven.errors import GatewayError, LoadFailed
from lanhaven.testing.asked import Asked
from lanhaven.testing.models import MockModel, entries_of, read_script

if TYPE_CHECKING:
    from lanhaven.testing.serving import Running

STARTS_WITHIN = 60.0  # seconds; the first start of a process imports the server
ENDS_WITHIN = 15.0
HOST = "127.0.0.1"

T = TypeVar("T")


class MockLMStudio:
    """`with MockLMStudio("qwen3-4b") as studio:` or `async with`; or `start` and `stop`.

    models: names (chat models that repeat what they are told) and MockModels; without any `mock-chat` and
    `mock-embedding`. port: 0 = a free one. api_key: what clients must send; None = nothing. script: a file of models
    and replies, as for `lanhaven mock --script`. All methods may be called from any thread while it runs.
    """

    def __init__(
        self, *models: str | MockModel, port: int = 0, api_key: str | None = None, script: Path | None = None
    ) -> None:
        file = read_script(script) if script is not None else None
        self._entries = file.entries if file is not None and file.entries and not models else entries_of(models)
        self._steps = file.steps if file is not None else []
        self._port = port
        self._api_key = api_key
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: Running | None = None
        self._failure: Exception | None = None
        self._settled = threading.Event()  # it runs, or will never

    # Life

    def start(self) -> Self:
        """Returns when it answers. GatewayError if it cannot: a port in use, a wrong setting of a model."""
        if self._thread is not None:
            raise RuntimeError("this mock was started already")
        self._thread = threading.Thread(target=self._run, name="mock-lmstudio", daemon=True)
        self._thread.start()
        if not self._settled.wait(STARTS_WITHIN):
            raise TimeoutError(f"the mock server did not start within {STARTS_WITHIN:g} s")
        if self._failure is not None:
            self._thread.join(ENDS_WITHIN)
            raise self._failure
        if self._running is None:
            raise RuntimeError("the mock server ended while it started: a defect, whose trace is on stderr")
        return self

    def stop(self) -> None:
        """End it at once: open streams get an error. Idempotent."""
        running, thread, loop = self._running, self._thread, self._loop
        if running is None or thread is None or loop is None or not thread.is_alive():
            return
        for _ in range(2):  # the second call means: without waiting
            loop.call_soon_threadsafe(running.shutdown.begin, "the mock was stopped")
        thread.join(ENDS_WITHIN)
        if thread.is_alive():
            raise TimeoutError(f"the mock server did not end within {ENDS_WITHIN:g} s")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except (GatewayError, OSError) as error:  # `start` raises it in the caller's thread
            self._failure = error
        finally:
            self._settled.set()

    async def _serve(self) -> None:
        from lanhaven.server.shutdown import Shutdown
        from lanhaven.server.sockets import Address
        from lanhaven.testing.serving import mock_settings, serve

        self._loop = asyncio.get_running_loop()

        def ready(running: Running) -> None:
            running.provider.script.add(*self._steps)
            self._running = running
            self._settled.set()

        with mock_settings(self._entries, host=HOST, api_key=self._api_key) as settings:
            await serve(settings, Address(HOST, self._port), Shutdown(), ready)

    # Where it is

    @property
    def url(self) -> str:
        """http://127.0.0.1:PORT"""
        return self._here().url

    @property
    def host(self) -> str:
        """127.0.0.1:PORT, as `lmstudio.Client` takes it."""
        return self.url.removeprefix("http://")

    @property
    def base_url(self) -> str:
        """http://127.0.0.1:PORT/v1, as OpenAI's clients take it."""
        return f"{self.url}/v1"

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rpartition(":")[2])

    # What it shall answer

    def reply(
        self, text: str | None = None, *, model: str | None = None, when: str | None = None, **fields: Any
    ) -> None:
        """The next answer: a text, or any fields of a Fault (tokens, delay, tool, arguments, status, do ...).

        model: only of this one. when: only to a request whose last user message holds this. Replies that fit are used
        up in the order in which they were given.
        """
        self.script(Fault(text=text, **fields), model=model, when=when)

    def always(
        self, text: str | None = None, *, model: str | None = None, when: str | None = None, **fields: Any
    ) -> None:
        """As `reply`, but it is never used up; it comes after all that is."""
        self._add(Step(Fault(text=text, **fields), model, when, always=True))

    def script(self, *faults: Fault, model: str | None = None, when: str | None = None) -> None:
        """The next answers as Faults, in order."""
        self._add(*(Step(fault, model, when) for fault in faults))

    def _add(self, *steps: Step) -> None:
        self._call(lambda running: running.provider.script.add(*steps))

    def fail_loads(self, model: str, message: str | None = "The model could not be loaded.") -> None:
        """Loads of this model fail with this message, until it is None."""
        error = LoadFailed(message) if message is not None else None
        self._call(lambda running: running.provider.fail_loads(model, error))

    def crash(self, instance: str) -> None:
        """A loaded instance ends as a killed process does. KeyError if it is not loaded."""
        self._call(lambda running: running.provider.crash(instance))

    def reset(self) -> None:
        """Nothing scripted, nothing asked, nothing loaded, no load that fails."""
        self._wait(self._reset)

    async def _reset(self, running: Running) -> None:
        running.provider.script.clear()
        running.provider.mend_loads()
        for instance in tuple(running.services.pool.ids()):
            await running.services.pool.unload(instance, force=True)

    # What happened

    @property
    def requests(self) -> tuple[Asked, ...]:
        """What was asked of the models, the last thousand: chats, completions, embeddings."""
        return self._call(lambda running: tuple(Asked.of(each) for each in running.provider.script.seen))

    @property
    def loaded(self) -> tuple[str, ...]:
        """Identifiers of what is in memory."""
        return self._call(lambda running: tuple(running.services.pool.ids()))

    @property
    def loads(self) -> Mapping[str, int]:
        """How many loads there were, by model."""
        return self._call(lambda running: dict(running.provider.loads))

    def load(self, model: str, instance: str | None = None) -> str:
        """Load a model as its owner would; the identifier of the instance. GatewayError."""

        async def loading(running: Running) -> str:
            result = await running.services.gateway.load(model, instance_id=instance)
            return result.instance.instance_id

        return self._wait(loading)

    # Into the thread

    def _here(self) -> Running:
        if self._running is None or self._thread is None or not self._thread.is_alive():
            raise RuntimeError("the mock does not run: use it in a with block, or call start")
        return self._running

    def _call(self, ask: Callable[[Running], T]) -> T:
        async def asking(running: Running) -> T:
            return ask(running)

        return self._wait(asking)

    def _wait(self, ask: Callable[[Running], Coroutine[Any, Any, T]]) -> T:
        running = self._here()
        if self._loop is None:
            raise RuntimeError("the mock does not run")
        return asyncio.run_coroutine_threadsafe(ask(running), self._loop).result(STARTS_WITHIN)

    def __repr__(self) -> str:
        return f"MockLMStudio({self._running.url if self._running is not None else 'not started'})"
