"""The log stream: what happened, and nothing of what was said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lanhaven.keys.store import FILE_NAME, KeyScope, KeyStore
from tests.dialects.lmstudio.frames import MODELS, Frames, frames
from tests.dialects.lmstudio.test_predict import about
from tests.dialects.lmstudio.test_prediction import said
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

SECRET = "the launch code is zebra"


async def log(client: Frames, until: str) -> list[dict[str, Any]]:
    """The entries up to the first of this type."""
    entries: list[dict[str, Any]] = []
    while not entries or entries[-1]["type"] != until:
        packet = await client.packet()
        assert packet["type"] == "log"
        assert packet["log"]["timestamp"] > 1_700_000_000_000
        entries.append(packet["log"]["data"])
    return entries


async def listening(house: House, client: Frames) -> int:
    """Open the channel, and wait until it hears."""
    before = repr(house.services.bus)
    number = await client.open("streamLogs")
    await house.until(lambda: repr(house.services.bus) != before)
    return number


def viewer(home: Path) -> tuple[str, dict[str, str]]:
    """A key that may look and ask, and a client's introduction with it."""
    token = KeyStore(home / "config" / FILE_NAME).add("viewer", {KeyScope.DEBUG, KeyScope.INFERENCE}, lmstudio=True)
    identifier, _, passkey = token.removeprefix("sk-lm-").partition(":")
    return token, {"identifier": identifier, "passkey": passkey}


async def test_a_request_from_its_start_to_its_end_and_no_word_of_it(tmp_path: Path) -> None:
    _, who = viewer(tmp_path)
    async with (
        serving(tmp_path, MODELS) as house,
        frames(house.url, "diagnostics", **who) as client,
        frames(house.url) as asking,
    ):
        await listening(house, client)
        await house.services.gateway.load("alpha")
        await asking.channel("predict", about("alpha", messages=[said(SECRET)]))
        entries = await log(client, "llm.prediction.output")
        lines = [each["content"] for each in entries if each["type"] == "server.log"]
        assert any("alpha: loaded" in each for each in lines)
        assert any("WS /llm for alpha" in each for each in lines)
        assert any(": 200 from alpha in " in each for each in lines)
        kinds = [each["type"] for each in entries]
        assert kinds[-2:] == ["llm.prediction.input", "llm.prediction.output"]
        assert entries[-1]["stats"]["predictedTokensCount"] == 5
        assert "zebra" not in json.dumps(entries)


async def test_failures_and_embeddings(tmp_path: Path) -> None:
    token, who = viewer(tmp_path)
    async with serving(tmp_path, MODELS) as house, frames(house.url, "diagnostics", **who) as client:
        await listening(house, client)
        await house.services.gateway.load("embed")
        for model in ("embed", "nothing"):
            body = {"model": model, "input": SECRET}
            await house.http.post("/v1/embeddings", json=body, headers={"X-API-Key": token})
        entries: list[dict[str, Any]] = []
        while not entries or entries[-1]["level"] != "error":
            entries += await log(client, "server.log")
        assert "404 model_not_found" in entries[-1]["content"]
        assert {each["type"] for each in entries} == {"server.log"}


async def test_it_ends_when_the_client_says_so(tmp_path: Path) -> None:
    _, who = viewer(tmp_path)
    async with serving(tmp_path, MODELS) as house, frames(house.url, "diagnostics", **who) as client:
        before = repr(house.services.bus)
        number = await listening(house, client)
        await client.send({"type": "channelSend", "channelId": number, "message": {"type": "stop"}})
        assert await client.rest() == []
        assert repr(house.services.bus) == before


@pytest.mark.req("F-154")
async def test_it_ends_with_its_key(tmp_path: Path) -> None:
    _, who = viewer(tmp_path)
    async with (
        serving(tmp_path, MODELS, key="a-key-that-is-long-enough") as house,
        frames(house.url, "diagnostics", **who) as client,
    ):
        await listening(house, client)
        assert (await house.http.delete("/admin/keys/viewer")).status_code == 204
        await house.chat(model="alpha")
        (refused,) = await client.rest()
        assert refused["error"]["title"].startswith("Unauthorized")


@pytest.mark.req("F-154")
async def test_it_ends_with_its_keys_scope(tmp_path: Path) -> None:
    _, who = viewer(tmp_path)
    async with (
        serving(tmp_path, MODELS, key="a-key-that-is-long-enough") as house,
        frames(house.url, "diagnostics", **who) as client,
    ):
        await listening(house, client)
        assert (await house.http.patch("/admin/keys/viewer", json={"scopes": ["inference"]})).status_code == 200
        await house.chat(model="alpha")
        (refused,) = await client.rest()
        assert "debug" in refused["error"]["title"]
        (refused,) = await client.channel("streamLogs")
        assert "debug" in refused["error"]["title"]


async def test_guests_hear_nothing(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, MODELS, key="a-key-that-is-long-enough") as house,
        frames(house.url, "diagnostics") as client,
    ):
        (refused,) = await client.channel("streamLogs")
        assert "debug" in refused["error"]["title"]
