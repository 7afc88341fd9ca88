"""Ollama, played by a second LanHaven: its own routes on real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lanhaven.providers.base import ModelEntry
from lanhaven.providers.ollama.provider import create
from lanhaven.testing.provider_suite import Lack, ProviderSuite, Rig
from tests.providers.conformance.second import BROKEN, FAR, MODEL, NOT_TOLD, SLOW, VECTORS, Second

KEY = "behind-a-proxy"


class TestOllama(ProviderSuite):
    @pytest.fixture(scope="class")
    @classmethod
    async def rig(cls) -> AsyncIterator[Rig]:
        async with Second() as second:
            yield Rig(
                create=create,
                options={"base_url": second.url, "api_key": KEY},
                entry=ModelEntry("m", "ollama", config={"model": MODEL}),
                others=(ModelEntry("v", "ollama", config={"model": VECTORS}),),
                slow=ModelEntry("slow", "ollama", config={"model": SLOW}),
                broken=ModelEntry("broken", "ollama", config={"model": BROKEN}),
                secrets=(KEY,),
                engines=second,
                lacks={
                    Lack.MEMORY: FAR,
                    Lack.COPIES: "Ollama holds a model once",
                    Lack.CRASH: NOT_TOLD,
                    Lack.HANG: NOT_TOLD,
                    Lack.LOGS: FAR,
                },
            )
