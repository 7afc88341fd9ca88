"""Every probe of every recipe against a server with scripted models, and what /admin/connect says of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from lanhaven.connect.probes import response
from lanhaven.connect.recipe import Place, Recipe
from lanhaven.connect.table import RECIPES
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

MODELS = """\
default_model: alpha
models:
  - {id: alpha, provider: mock, enabled: true, aliases: [first], config: {context_length: 100000, slots: 4}}
  - {id: vectors, provider: mock, enabled: true, config: {kind: embedding}}
"""
KEY = "sk-test-0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with serving(tmp_path_factory.mktemp("house"), MODELS, key=KEY) as house:
        yield house


async def connect(house: House, **query: str) -> dict[str, Any]:
    reply = await house.http.get("/admin/connect", params=query)
    assert reply.status_code == 200, reply.text
    said: dict[str, Any] = reply.json()
    return said


@pytest.mark.req("S4-29")
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.id)
async def test_every_request_of_a_recipe_is_answered(house: House, recipe: Recipe) -> None:
    (app,) = [each for each in (await connect(house))["apps"] if each["id"] == recipe.id]
    for probe in app["probes"]:
        reply = await house.http.request(probe["method"], probe["path"], json=probe.get("body"))
        assert reply.is_success, (probe, reply.text)
        assert probe.get("expect", "") in reply.text, (probe, reply.text)


async def test_the_document_has_the_form_that_is_published(house: House) -> None:
    published = (await house.http.get("/openapi.json")).json()
    schema = {**published["components"]["schemas"]["ConnectApps"], "components": published["components"]}
    jsonschema_rs.validator_for(schema).validate(await connect(house))


async def test_it_is_filled_in_for_this_server_and_the_default_model(house: House) -> None:
    said = await connect(house)
    assert {name: said[name] for name in ("baseUrl", "model", "keyRequired")} == {
        "baseUrl": house.url, "model": "alpha", "keyRequired": True,
    }  # fmt: skip
    claude = said["apps"][0]
    assert f"export ANTHROPIC_BASE_URL={house.url}\n" in claude["steps"][0]["text"]
    assert "export ANTHROPIC_AUTH_TOKEN={{key}}\n" in claude["steps"][0]["text"]
    assert KEY not in json.dumps(said)


async def test_another_address_and_another_model(house: House) -> None:
    said = await connect(house, base="https://lanhaven.local:8002/", model="first")
    assert (said["baseUrl"], said["model"]) == ("https://lanhaven.local:8002", "alpha")
    said = await connect(house, model="vectors")
    assert all("not a model that chats" in each["warnings"][0] for each in said["apps"])


async def test_a_loaded_model_has_the_context_that_it_was_loaded_with(house: House) -> None:
    order = {"modelKey": "alpha", "instanceId": "short", "loadConfig": {"contextLength": 2048}, "activate": False}
    assert (await house.http.post("/admin/models/load", json=order)).status_code == 200
    said = await connect(house, model="short")
    assert (said["model"], said["contextLength"]) == ("short", 2048)
    assert said["apps"][0]["warnings"][0].startswith("context 2,048: ")
    await house.http.post("/admin/models/unload", json={"modelKey": "alpha", "instanceId": "short"})


async def test_a_model_that_is_not_there(house: House) -> None:
    reply = await house.http.get("/admin/connect", params={"model": "nobody"})
    assert reply.status_code == 404


@pytest.mark.parametrize(
    "base", ["ftp://x", "x", "http://", "http://a@b", "http://x/$(y) z", "http://x:99999", "http://x?a", "http://x\n"]
)
async def test_what_is_no_address_is_refused(house: House, base: str) -> None:
    reply = await house.http.get("/admin/connect", params={"base": base})
    assert reply.status_code == 400
    assert "not an address" in reply.json()["error"]


async def test_a_server_without_keys_and_without_a_model_that_chats(tmp_path: Path) -> None:
    async with serving(tmp_path, "models:\n  - {id: v, provider: mock, config: {kind: embedding}}\n") as empty:
        said = await connect(empty)
        assert (said["keyRequired"], said["model"]) == (False, "YOUR-MODEL")
        assert "contextLength" not in said


async def test_a_response_is_known_by_its_last_event_alone(house: House) -> None:
    """Coding agents send tools: a small model may spend the few tokens of a probe on a call that is not written out."""
    probe = response(Place(house.url, "alpha"))
    reply = await house.http.request(probe.method, probe.path, json={**(probe.body or {}), "max_output_tokens": 1})
    before, _, last = reply.text.rpartition("event: ")
    assert last.startswith("response.incomplete")
    assert probe.expect in last
    assert probe.expect not in before
