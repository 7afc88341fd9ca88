"""GET /v1/models for clients of Anthropic's API: its list, its pages, and names that Claude Code keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving import House, serving

pytestmark = pytest.mark.anyio

MODELS = """\
default_model: alpha
models:
  - {id: alpha, provider: mock, enabled: true, aliases: [claude-haiku-4-5, first]}
  - {id: claude-beta, provider: mock, enabled: true, config: {context_length: 4096}}
  - {id: vectors, provider: mock, enabled: true, config: {kind: embedding}}
"""
VERSION = {"anthropic-version": "2023-06-01"}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with serving(tmp_path, MODELS) as house:
        yield house


async def listed(house: House, query: str = "") -> dict[str, Any]:
    reply = await house.http.get(f"/v1/models{query}", headers=VERSION)
    assert reply.status_code == 200, reply.text
    body: dict[str, Any] = reply.json()
    return body


def ids(body: dict[str, Any]) -> list[str]:
    return [each["id"] for each in body["data"]]


ALL = ["alpha", "claude-haiku-4-5", "claude-local-alpha", "claude-beta"]


async def test_everything_that_chats_under_names_that_claude_code_keeps(house: House) -> None:
    body = await listed(house, "?limit=1000")
    assert ids(body) == ALL
    assert {name: body[name] for name in ("has_more", "first_id", "last_id")} == {
        "has_more": False, "first_id": "alpha", "last_id": "claude-beta",
    }  # fmt: skip
    assert [each["type"] for each in body["data"]] == ["model"] * 4
    assert body["data"][2]["display_name"] == "alpha"
    assert "object" not in body


async def test_without_the_version_it_is_openais_list(house: House) -> None:
    body = (await house.http.get("/v1/models")).json()
    assert body["object"] == "list"
    assert ids(body) == ["alpha", "claude-beta", "vectors"]


async def test_every_name_that_is_listed_answers(house: House) -> None:
    for name in ALL:
        body = {"model": name, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        reply = await house.http.post("/v1/messages", json=body, headers=VERSION)
        assert (reply.status_code, reply.json()["model"]) == (200, name)
        assert (await house.http.get(f"/v1/models/{name}", headers=VERSION)).json()["id"] == name
    missing = await house.http.get("/v1/models/claude-local-nobody", headers=VERSION)
    assert missing.status_code == 404


async def test_an_instance_has_a_name_of_its_own_and_its_own_context(house: House) -> None:
    order = {"modelKey": "alpha", "instanceId": "long", "loadConfig": {"contextLength": 3000}}
    assert (await house.http.post("/admin/models/load", json=order)).status_code == 200
    found = {each["id"]: each for each in (await listed(house))["data"]}
    assert {"long", "claude-local-long"} <= found.keys()
    assert found["claude-local-long"]["max_input_tokens"] == 3000


async def test_pages(house: House) -> None:
    first = await listed(house, "?limit=3")
    assert (ids(first), first["has_more"]) == (ALL[:3], True)
    second = await listed(house, f"?limit=3&after_id={first['last_id']}")
    assert (ids(second), second["has_more"]) == (ALL[3:], False)
    back = await listed(house, f"?limit=2&before_id={second['first_id']}")
    assert (ids(back), back["has_more"]) == (ALL[1:3], True)
    for query in ("?limit=0", "?limit=x", "?after_id=nobody"):
        assert (await house.http.get(f"/v1/models{query}", headers=VERSION)).status_code == 400
