"""A program's life: started, served by, ended, with all that can go wrong on the way."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest

from lanhaven.errors import EngineCrashed, GatewayError, LoadFailed, ProviderUnavailable
from lanhaven.types.models import LoadConfig, Upstream
from lanhaven.upstream.pool import Timers, UpstreamClient
from tests.children import own_children
from tests.providers.command.case import Case, config

pytestmark = pytest.mark.anyio
SECRET = "hf_very-secret-value"


@pytest.fixture
async def folder() -> AsyncIterator[Path]:
    with TemporaryDirectory(prefix="lh") as name:
        yield Path(name)


@pytest.fixture
async def case(folder: Path) -> AsyncIterator[Case]:
    """At the end nothing is left of it."""
    made = Case(folder)
    yield made
    await made.provider.aclose()
    assert not own_children()
    assert not await asyncio.to_thread(lambda: list(folder.iterdir()))


async def ask(upstream: Upstream, text: str = "hi") -> Any:
    client = UpstreamClient(Timers(connect=1))
    try:
        body = json.dumps({"model": upstream.model, "messages": [{"role": "user", "content": text}]}).encode()
        exchange = await client.send(upstream, "/v1/chat/completions", body, stream=False)
        return json.loads(await exchange.body())["choices"][0]["message"]["content"]
    finally:
        await client.aclose()


def grandchild(case: Case) -> psutil.Process:
    line = next(line for line in case.provider.logs("big") if line.startswith("grandchild "))
    return psutil.Process(int(line.split()[1]))


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("place", ["${SOCKET}", "${PORT}"])
async def test_it_starts_answers_and_ends(case: Case, place: str) -> None:
    loaded = await case.load(config(listen=place, model="its-own", slots=3), LoadConfig(context_length=9, slots=2))
    assert await ask(loaded.upstream) == "its-own: hi"
    assert (loaded.upstream.slots, loaded.applied) == (2, {"slots": 2})
    assert [each.key for each in loaded.ignored] == ["contextLength"]
    assert ("loading", 0.5) in case.observer.stages
    (running,) = await case.provider.instances()
    assert running.size_bytes > 10 << 20, "of the program, not only of what watches it"
    assert (await case.provider.health()).detail == "1 program running"
    await case.provider.unload("big")
    assert case.observer.errors == []
    assert not own_children()


async def test_a_key_of_its_own_at_each_start(case: Case) -> None:
    loaded = await case.load(config(env={"KEY": "${KEY}"}))
    assert await ask(loaded.upstream) == "big: hi"
    with pytest.raises(GatewayError):
        await ask(Upstream("big", socket=loaded.upstream.socket))
    (key,) = [value.removeprefix("Bearer ") for name, value in loaded.upstream.headers if name == "authorization"]
    assert key not in "\n".join(case.provider.logs("big"))


async def test_a_server_without_health_is_asked_for_its_models(case: Case) -> None:
    assert await ask((await case.load(config("unknown"))).upstream)


@pytest.mark.req("F-014")
async def test_it_quits_at_once(case: Case) -> None:
    with pytest.raises(LoadFailed) as caught:
        await case.load(config("quits"))
    assert caught.value.message == "big could not be loaded: ValueError: there is no model of that name in big.bin."
    assert any("no model of that name" in line for line in case.provider.logs("big"))


@pytest.mark.parametrize(
    ("behaviour", "last"), [("deaf", "no answer to GET /health"), ("loading", "GET /health answers 503")]
)
async def test_it_is_never_ready(case: Case, behaviour: str, last: str) -> None:
    with pytest.raises(LoadFailed) as caught:
        await case.load(config(behaviour, start_timeout=0.5))
    assert caught.value.message == f"big could not be loaded: not ready within 0.5 s: {last}."


async def test_a_load_that_is_cancelled(case: Case) -> None:
    loading = asyncio.create_task(case.load(config("deaf")))
    while not case.provider.logs("big"):  # noqa: ASYNC110 - the log has no event
        await asyncio.sleep(0.01)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert not own_children()


@pytest.mark.req("F-001")
async def test_it_crashes_and_is_started_again(case: Case) -> None:
    loaded = await case.load(config())
    with pytest.raises(GatewayError):
        await ask(loaded.upstream, "crash")
    await asyncio.wait_for(case.observer.told.wait(), 60)
    (error,) = case.observer.errors
    assert isinstance(error, EngineCrashed)
    assert error.message == "The engine of big ended with code 3: RuntimeError: the card fell off the bus."
    assert error.facts == {"exit_code": 3}
    assert await ask((await case.load(config())).upstream) == "big: hi"


@pytest.mark.req("F-016")
async def test_a_kill_that_is_not_ours_hints_at_memory(case: Case) -> None:
    await case.load(config())
    (program,) = [each for each in own_children() if "program.py" in each.cmdline()[-1]]
    program.kill()
    await asyncio.wait_for(case.observer.told.wait(), 60)
    (error,) = case.observer.errors
    assert isinstance(error, EngineCrashed)
    assert "SIGKILL" in error.message
    assert "out of memory" in (error.hint or "")


@pytest.mark.req("F-007", "F-008", "F-018")
@pytest.mark.parametrize("end", ["unload", "crash"])
async def test_what_ignores_sigterm_and_what_it_forked(case: Case, end: str) -> None:
    await case.load(config("forks", "ignores", stop_seconds=0.2))
    forked = grandchild(case)
    (program,) = [each for each in own_children() if "program.py" in each.cmdline()[-1]]
    if end == "crash":
        program.kill()
        await asyncio.wait_for(case.observer.told.wait(), 60)
    await case.provider.unload("big")
    assert is_gone(forked)
    assert is_gone(program)


async def test_the_signal_that_ends_it(case: Case) -> None:
    await case.load(config("interrupt", stop_signal="SIGINT", stop_seconds=20))
    await case.provider.unload("big")
    assert "SIGTERM came" not in case.provider.logs("big")


@pytest.mark.req("F-012", "F-013")
async def test_a_port_that_somebody_took_is_replaced(folder: Path) -> None:
    with socket.socket() as stranger, socket.socket() as free:
        stranger.bind(("127.0.0.1", 0))
        free.bind(("127.0.0.1", 0))
        ports = [stranger.getsockname()[1], free.getsockname()[1]]
        free.close()
        case = Case(folder, ports=lambda: ports.pop(0))
        try:
            assert await ask((await case.load(config(listen="${PORT}"))).upstream) == "big: hi"
        finally:
            await case.provider.aclose()


@pytest.mark.req("F-012", "F-013")
async def test_a_stranger_at_the_port_is_never_served_by(folder: Path) -> None:
    """The stranger is healthy; our program hangs, and would be taken for ready."""

    async def healthy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()  # nothing, if it was only looked whether somebody listens
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(healthy, "127.0.0.1", 0) as stranger:
        port: int = stranger.sockets[0].getsockname()[1]
        case = Case(folder, ports=lambda: port)
        with pytest.raises(ProviderUnavailable, match="Each of 3 ports that big was to listen at is taken"):
            await case.load(config("deaf", listen="${PORT}", stop_seconds=0))
        await case.provider.aclose()
        assert not own_children()


async def test_secrets_are_shown_nowhere(case: Case) -> None:
    said = config("quits", env={"HF_TOKEN": SECRET})
    said["command"] = [*said["command"], "--api-key", "sk-another-secret", "--token=third-secret", "ValueError:"]
    with pytest.raises(LoadFailed) as caught:
        await case.load(said)
    log = "\n".join(case.provider.logs("big"))
    shown = f"{caught.value!r} {caught.value.facts} {log} {case.observer.stages} {case.provider!r}"
    for secret in (SECRET, "sk-another-secret", "third-secret"):
        assert secret not in shown
    assert "started with secrets *** None --api-key *** --token=***" in log


@pytest.mark.req("F-014")
async def test_what_is_no_program(case: Case, folder: Path) -> None:
    wrong = folder / "wrong"
    wrong.write_bytes(b"\x7fELF")
    wrong.chmod(0o755)
    with pytest.raises(ProviderUnavailable) as caught:
        await case.load({"command": [str(wrong), "${SOCKET}"]})
    assert "wrong cannot be started: Exec format error" in caught.value.message
    assert "built for this machine" in (caught.value.hint or "")
    wrong.chmod(0o644)
    assert "there is no program 'wrong'" in (case.described({"command": [str(wrong), "${SOCKET}"]}).unavailable or "")
    with pytest.raises(ProviderUnavailable, match="no program 'wrong'"):
        await case.load({"command": [str(wrong), "${SOCKET}"]})
    wrong.unlink()


async def test_without_a_log(case: Case) -> None:
    await case.load(config("forks", keep_log=False))
    before = case.provider.logs("big")
    assert before, "what it said while it loaded"
    (program,) = [each for each in own_children() if "program.py" in each.cmdline()[-1]]
    os.kill(program.pid, signal.SIGKILL)
    await asyncio.wait_for(case.observer.told.wait(), 60)
