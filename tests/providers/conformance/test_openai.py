"""Servers that speak OpenAI: a scripted one, and a second LanHaven. They load what they like; we only send requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest

from lanhaven.engines.scripted import Fault, ScriptedModel, ScriptedServer
from lanhaven.providers.base import ModelEntry
from lanhaven.providers.openai.provider import create
from lanhaven.testing.provider_suite import Lack, ProviderSuite, Rig
from tests.providers.conformance.second import BROKEN, FAR, MODEL, NOT_TOLD, VECTORS, Second

KEY = "sk-very-secret-value"
LACKS: Mapping[Lack, str] = {
    Lack.MEMORY: FAR,
    Lack.LOADING: "the other server decides what it loads, and when",
    Lack.CRASH: NOT_TOLD,
    Lack.HANG: NOT_TOLD,
    Lack.LOGS: FAR,
}


class Scripted:
    """A scripted server that can fall over and get up again, at the same port."""

    def __init__(self) -> None:
        self.server = self._made(0)

    def _made(self, port: int) -> ScriptedServer:
        model = ScriptedModel("there", answer="count", tokens=100_000, interval=0.001, slots=1)
        return ScriptedServer(model, port=port, key=KEY)

    def holding(self) -> int:
        return 0  # it holds its model whatever we do

    async def crash(self) -> None:
        self.server.crash()

    async def hang(self) -> None:
        self.server.script(Fault(delay=60))

    async def mend(self) -> None:
        url = str(self.server.base_url)
        await self.server.aclose()
        self.server = await self._made(int(url.rpartition(":")[2])).start()


class SecondForRequests(Second):
    """What it loads for a request stays its own."""

    def holding(self) -> int:
        return 0


class TestScriptedServer(ProviderSuite):
    @pytest.fixture(scope="class")
    @classmethod
    async def rig(cls) -> AsyncIterator[Rig]:
        there = Scripted()
        await there.server.start()
        yield Rig(
            create=create,
            entry=ModelEntry(
                "m", "openai", config={"base_url": there.server.base_url, "model": "there", "api_key": KEY}
            ),
            broken=ModelEntry("broken", "openai", config={"base_url": "http://127.0.0.1:9", "api_key": KEY}),
            secrets=(KEY,),
            engines=there,
            lacks=LACKS,
        )
        await there.server.aclose()


class TestSecondLanHaven(ProviderSuite):
    @pytest.fixture(scope="class")
    @classmethod
    async def rig(cls) -> AsyncIterator[Rig]:
        async with SecondForRequests() as second:
            yield Rig(
                create=create,
                options={"base_url": f"{second.url}/v1", "api_key": KEY},
                entry=ModelEntry("m", "openai", config={"model": MODEL}),
                others=(ModelEntry("v", "openai", config={"model": VECTORS, "kind": "embedding"}),),
                broken=ModelEntry("broken", "openai", config={"model": BROKEN}),
                secrets=(KEY,),
                engines=second,
                lacks=LACKS,
            )
