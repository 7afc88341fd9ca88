"""LM Studio, played by a second LanHaven: its own protocol on real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lanhaven.providers.base import ModelEntry
from lanhaven.providers.lmstudio.provider import create
from lanhaven.testing.provider_suite import Lack, ProviderSuite, Rig
from tests.providers.conformance.second import BROKEN, FAR, MODEL, NOT_TOLD, SLOW, VECTORS, Second

TOKEN = "sk-lm-abcdefgh:01234567890123456789"


@pytest.mark.req("F-020")
class TestLMStudio(ProviderSuite):
    @pytest.fixture(scope="class")
    @classmethod
    async def rig(cls) -> AsyncIterator[Rig]:
        async with Second() as second:
            yield Rig(
                create=create,
                options={"base_url": second.url, "api_token": TOKEN, "attempts": 1, "connect_timeout": 60},
                entry=ModelEntry("m", "lmstudio", config={"model": MODEL}),
                others=(ModelEntry("v", "lmstudio", config={"model": VECTORS}),),
                slow=ModelEntry("slow", "lmstudio", config={"model": SLOW}),
                broken=ModelEntry("broken", "lmstudio", config={"model": BROKEN}),
                secrets=(TOKEN, TOKEN.partition(":")[2]),
                engines=second,
                lacks={Lack.MEMORY: FAR, Lack.CRASH: NOT_TOLD, Lack.HANG: NOT_TOLD, Lack.LOGS: FAR},
            )
