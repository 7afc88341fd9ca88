"""Whatever a model says, in whatever pieces, every client hears it whole and once, streamed or not, by hand or by its
official library; what breaks is told as broken, once; who leaves is let go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anthropic
import ollama
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanhaven.engines.scripted_script import Step
from lanhaven.events import Failure, GatewayEvent, InferenceComplete, InferenceStart
from lanhaven.inference import GatewayLimits
from tests.lossless.as_anthropic import Messages
from tests.lossless.as_jobs import Jobs
from tests.lossless.as_lmstudio import Prediction, V1Chat
from tests.lossless.as_ollama import OllamaChat, OllamaGenerate
from tests.lossless.as_openai import OpenAIChat, OpenAICompletion, V0Chat, V0Completion
from tests.lossless.as_responses import Responses
from tests.lossless.listener import Clients, Listener
from tests.lossless.said import BAD, End, Script, scripts, told
from tests.lossless.upstream import fault
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

MODELS = "models:\n  - {id: alpha, provider: mock, enabled: true, config: {slots: 16}}\n"
LISTENERS: tuple[Listener, ...] = (
    OpenAIChat(), OpenAICompletion(), Responses(), Messages(), OllamaChat(), OllamaGenerate(), V0Chat(), V0Completion(),
    V1Chat(), Prediction(), Jobs(),
)  # fmt: skip
every = pytest.mark.parametrize("listener", LISTENERS, ids=[each.name for each in LISTENERS])
some = settings(derandomize=True, max_examples=8, database=None)


@pytest.fixture(scope="module")
async def clients(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Clients]:
    """One house for all of it, whose only model says what it is told to."""
    async with serving(tmp_path_factory.mktemp("lossless"), MODELS) as house:
        house.services.gateway.limits = GatewayLimits(crash_grace=0.001)
        await house.services.gateway.load("alpha")
        how = {"api_key": "none", "max_retries": 0, "timeout": 30}
        async with (
            openai.AsyncOpenAI(base_url=f"{house.url}/v1", **how) as first,
            openai.AsyncOpenAI(base_url=f"{house.url}/api/v0", **how) as second,
            anthropic.AsyncAnthropic(base_url=house.url, **how) as third,
            ollama.AsyncClient(house.url, trust_env=False) as fourth,
        ):
            yield Clients(house, first, second, third, fourth)


@asynccontextmanager
async def saying(
    house: House, script: Script, listener: Listener, end: type[GatewayEvent], *, whole: bool = False
) -> AsyncIterator[None]:
    """In the block the model says this, to whoever asks; each request then has exactly one terminal event, an `end`."""
    house.events.clear()
    house.mock.script.add(Step(fault(script, chat=listener.chat, whole=whole and listener.passes), always=True))
    try:
        yield
        await house.until(lambda: house.services.gateway.inflight == 0)
    finally:
        house.mock.script.clear()
    started = [each.request_id for each in house.named(InferenceStart)]
    assert started
    assert sorted(started) == sorted(each.request_id for each in house.named(end))
    assert not house.named(InferenceComplete if end is Failure else Failure)


@pytest.mark.req("P1", "S4-16", "S4-18", "C19", "F-034", "F-039")
@every
@some
@given(script=scripts())
async def test_all_is_told(clients: Clients, listener: Listener, script: Script) -> None:
    house = clients.house
    expected = listener.expected(told(script))
    async with saying(house, script, listener, InferenceComplete):
        wire = await listener.stream(house)
        library = await listener.library(clients)
    async with saying(house, script, listener, InferenceComplete, whole=True):
        fold = await listener.fold(house)
    assert (wire.status, wire.successes, wire.failures, wire.talks_on) == (200, 1, 0, False)
    for heard in (wire.told, library, fold):
        assert heard is not None
        assert heard.like(expected) == expected


@pytest.mark.req("P1", "F-031", "F-033", "F-035", "F-043", "F-044", "F-045")
@every
@some
@given(script=scripts(BAD))
async def test_what_breaks_is_told_as_broken(clients: Clients, listener: Listener, script: Script) -> None:
    """What came before may have been told (words that could become a call wait until that is known); nothing else is."""
    house = clients.house
    said = listener.expected(replace(told(script), stop="stop"))
    async with saying(house, script, listener, Failure):
        wire = await listener.stream(house)
        library = await listener.library(clients)
    async with saying(house, script, listener, Failure, whole=True):
        fold = await listener.fold(house)
    assert (wire.successes, wire.failures, wire.talks_on) == (0, 1, False)
    assert (library, fold) == (None, None)
    assert said.text.startswith(wire.told.text)
    assert (said.thought or "").startswith(wire.told.thought or "")
    assert wire.told.calls == (said.calls or [])[: len(wire.told.calls or ())]


@pytest.mark.req("P2")
@every
@some
@given(script=scripts([End.STALL]), turns=st.integers(0, 40), stream=st.booleans())
async def test_who_leaves_is_let_go(
    clients: Clients, listener: Listener, script: Script, turns: int, stream: bool
) -> None:
    """At any moment after the engine began: it hears of it, and the request ends once, as cancelled."""
    house, server = clients.house, clients.house.mock.server("alpha")
    async with saying(house, script, listener, Failure, whole=not stream):
        asking = asyncio.create_task(listener.open(house, stream=stream))
        await server.until(lambda: server.running == 1)
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        await server.until(lambda: server.running == 0)
    assert [each.cancelled for each in house.named(Failure)] == [True]
