"""LanHavens that have each other as hosts, as LM Studios and as Ollamas."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanhaven.providers.base import ModelEntry
from lanhaven.providers.ollama.config import read_hosts
from lanhaven.providers.ollama.provider import OllamaProvider
from tests.dialects.lmstudio.frames import introduction, unknown
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

ANOTHER = {"via": "1.1 lanhaven-0123456789ab"}
OWN = "models:\n  - {id: own, provider: mock}\n"


async def told(house: House, headers: dict[str, str]) -> list[set[str]]:
    """The models in each list of a house."""
    ollama = (await house.http.get("/api/tags", headers=headers)).json()["models"]
    openai = (await house.http.get("/v1/models", headers=headers)).json()["data"]
    rest = (await house.http.get("/api/v1/models", headers=headers)).json()["models"]
    older = (await house.http.get("/api/v0/models", headers=headers)).json()["data"]
    return [
        {each["name"].removesuffix(":latest") for each in ollama},
        {each["id"] for each in openai},
        {each["key"] for each in rest},
        {each["id"] for each in older},
    ]


async def test_what_another_lanhaven_has_is_told_to_people_alone(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    async with serving(tmp_path / "a", "models:\n  - {id: far, provider: mock}\n") as a:
        hosts = {"lmstudio": {"hosts": {"a": a.url}}}
        async with serving(tmp_path / "b", OWN, providers=hosts) as b:
            assert await told(b, {}) == [{"own", "far"}] * 4
            assert await told(b, ANOTHER) == [{"own"}] * 4
            for headers, expected in (({}, {"own", "far"}), (ANOTHER, {"own"})):
                async with unknown(b.url, "system", additional_headers=headers) as client:
                    await client.send(introduction())
                    await client.next()
                    found = await client.result("listDownloadedModels")
                    assert {each["modelKey"] for each in found} == expected


async def test_an_ollama_host_that_is_one_is_known(tmp_path: Path) -> None:
    async with serving(tmp_path, OWN) as house:
        provider = OllamaProvider(read_hosts({"base_url": house.url, "hop": "lanhaven-0123456789ab"}))
        try:
            (found,) = await provider.models()
            assert (found.key, found.relayed) == ("own", True)
            assert not provider.describe(ModelEntry("own", "ollama")).relayed
        finally:
            await provider.aclose()
