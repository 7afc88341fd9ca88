"""GET /v1/models: filters and pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.serving import House, serving

pytestmark = [pytest.mark.anyio, pytest.mark.req("C13", "S3-x2")]


async def ids(house: House, query: str) -> tuple[list[str], Any]:
    reply = await house.http.get(f"/v1/models{query}")
    assert reply.status_code == 200, reply.text
    body = reply.json()
    assert body["object"] == "list"
    assert body["has_more"] is (body["next_cursor"] is not None)
    return [each["id"] for each in body["data"]], body["next_cursor"]


async def test_lists_are_filtered(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.chat(model="beta")
        everything, _ = await ids(house, "")
        assert {"alpha", "beta", "gamma"} <= set(everything)
        assert await ids(house, "?status=ready") == (["beta"], None)
        assert (await ids(house, "?status=unloaded"))[0] == [each for each in everything if each != "beta"]
        assert await ids(house, "?owned_by=lmstudio") == ([], None)
        assert await ids(house, "?owned_by=mock&status=ready&limit=10&x=1") == (["beta"], None)


async def test_pages_follow_each_other(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        everything, _ = await ids(house, "")
        first, cursor = await ids(house, "?limit=2")
        assert first == everything[:2]
        assert cursor == first[-1]
        second, end = await ids(house, f"?limit=1000&cursor={cursor}")
        assert first + second == everything
        assert end is None


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "limit=", "limit=99999", "cursor=nobody", "status=happy", "limit=-1"]
)
async def test_what_cannot_be_is_refused(tmp_path: Path, query: str) -> None:
    async with serving(tmp_path) as house:
        reply = await house.http.get(f"/v1/models?{query}")
        assert reply.status_code == 400
        assert reply.json()["error"]["param"] == query.partition("=")[0]


async def test_the_filters_stand_in_the_api_document(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        listed = (await house.http.get("/openapi.json")).json()["paths"]["/v1/models"]["get"]
        assert [each["name"] for each in listed["parameters"]] == ["owned_by", "status", "limit", "cursor"]
        page = (await house.http.get("/docs")).text
        assert "Only models of this provider." in page
