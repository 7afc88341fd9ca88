"""The published Python library of LM Studio against a whole server: everything that needs no text of a model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import lmstudio
import pytest
from lmstudio import AsyncClient, Client, LMStudioModelNotFoundError, LMStudioServerError

from tests.dialects.lmstudio.frames import MODELS
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

T = TypeVar("T")
KEY = "a-key-that-is-long-enough"
TAKING_TIME = MODELS.replace("aliases: [first]", "aliases: [first], config: {load_seconds: 0.2}")


async def with_client(house: House, work: Callable[[Client], T]) -> T:
    """Run `work` with the library's synchronous client, in a thread."""

    def run() -> T:
        with Client(house.url.removeprefix("http://")) as client:
            return work(client)

    return await asyncio.to_thread(run)


async def test_lists_of_what_is_there_and_what_is_loaded(tmp_path: Path) -> None:
    def work(client: Client) -> None:
        downloaded = {each.model_key for each in client.list_downloaded_models()}
        assert downloaded == {"alpha", "beta", "Maker/Seeing-1B", "embed"}
        assert [each.model_key for each in client.embedding.list_downloaded()] == ["embed"]
        assert client.list_loaded_models() == []
        client.llm.load_new_instance("alpha")
        client.embedding.load_new_instance("embed")
        assert [each.identifier for each in client.list_loaded_models()] == ["alpha", "embed"]
        assert [each.identifier for each in client.llm.list_loaded()] == ["alpha"]

    async with serving(tmp_path, MODELS) as house:
        await with_client(house, work)


async def test_a_load_with_progress_and_config(tmp_path: Path) -> None:
    def work(client: Client) -> None:
        told: list[float] = []
        config: lmstudio.LlmLoadModelConfigDict = {"contextLength": 4096, "flashAttention": True, "gpu": {"ratio": 0.5}}
        model = client.llm.load_new_instance("alpha", "mine", config=config, ttl=300, on_load_progress=told.append)
        assert told == sorted(told)
        assert told[-1] == 1.0
        assert len(set(told)) > 3
        assert model.get_context_length() == 4096
        kept = model.get_load_config()
        assert (kept.context_length, kept.flash_attention) == (4096, True)
        assert kept.gpu is not None
        assert kept.gpu.ratio == 0.5
        info = model.get_info()
        assert (info.identifier, info.model_key, info.context_length) == ("mine", "alpha", 4096)
        assert info.max_context_length == 8192

    async with serving(tmp_path, TAKING_TIME) as house:
        await with_client(house, work)


async def test_instances_are_numbered_and_a_taken_name_is_an_error(tmp_path: Path) -> None:
    def work(client: Client) -> None:
        names = [client.llm.load_new_instance("alpha").identifier for _ in range(2)]
        assert names == ["alpha", "alpha:2"]
        with pytest.raises(LMStudioServerError, match=r"Model load error: .*already exists"):
            client.llm.load_new_instance("alpha", "alpha:2")
        client.llm.unload("alpha")
        assert client.llm.load_new_instance("alpha").identifier == "alpha"

    async with serving(tmp_path, MODELS) as house:
        await with_client(house, work)


async def test_just_in_time(tmp_path: Path) -> None:
    def work(client: Client) -> None:
        model = client.llm.model("maker/seeing")
        assert model.identifier == "Maker/Seeing-1B"
        assert client.llm.model("MAKER/SEEING-1B").get_info() == model.get_info()
        assert client.llm.model().identifier == "Maker/Seeing-1B"  # no name: any
        embedding = client.embedding.model("embed")
        with pytest.raises(LMStudioModelNotFoundError):
            model.get_info()  # it made room
        client.llm.load_new_instance("alpha")
        assert embedding.get_info().identifier == "embed"

    async with serving(tmp_path, MODELS, max_loaded_models=1) as house:
        await with_client(house, work)


async def test_what_is_not_there_is_an_error_and_no_time_out(tmp_path: Path) -> None:
    def work(client: Client) -> None:
        model = client.llm.load_new_instance("alpha")
        model.unload()
        for call in (
            model.unload,
            model.get_info,
            model.get_load_config,
            lambda: client.llm.get_model_info("nothing"),
            lambda: client.embedding.get_model_info("embed"),
        ):
            with pytest.raises(LMStudioModelNotFoundError):
                call()
        with pytest.raises(LMStudioServerError):
            client.llm.model("nothing")
        with pytest.raises(LMStudioServerError):
            client.embedding.load_new_instance("alpha")

    async with serving(tmp_path, MODELS) as house:
        await with_client(house, work)


async def test_a_guest_on_a_server_with_keys(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS, key=KEY) as house:
        assert await with_client(house, lambda client: client.llm.model("beta").identifier) == "beta"


async def test_the_asynchronous_client(tmp_path: Path) -> None:
    async with serving(tmp_path, TAKING_TIME) as house, AsyncClient(house.url.removeprefix("http://")) as client:
        one, two = await asyncio.gather(client.llm.model("alpha"), client.llm.load_new_instance("beta", ttl=None))
        assert {each.identifier for each in await client.llm.list_loaded()} == {"alpha", "beta"}
        assert (await one.get_info()).model_key == "alpha"
        await two.unload()
        assert [each.identifier for each in await client.llm.list_loaded()] == ["alpha"]
