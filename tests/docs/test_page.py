"""/openapi.json and /docs: what they tell is what the server does, and the page brings everything with it."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lanhaven.server.docs_page import page
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

KEY = "sk-test-0123456789abcdef0123456789abcdef"


class Elements(HTMLParser):
    """Every element with its attributes, and the text of the page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


async def document(house: House) -> dict[str, Any]:
    found: dict[str, Any] = (await house.http.get("/openapi.json")).json()
    return found


async def test_the_document_promises_the_errors_that_come(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        found = await document(house)
        assert "422" not in found["paths"]["/admin/models/load"]["post"]["responses"]
        promised = found["paths"]["/admin/models/load"]["post"]["responses"]["400"]["content"]["application/json"]
        schema = found["components"]["schemas"][promised["schema"]["anyOf"][0]["$ref"].rpartition("/")[2]]
        reply = (await house.http.post("/admin/models/load", json={})).json()
        assert set(schema["properties"]) == set(schema["required"]) == set(reply)
        assert set(found["components"]["schemas"]["Issue"]["properties"]) == set(reply["details"][0])


async def test_the_page_tells_every_operation_of_the_document(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        reply = await house.http.get("/docs")
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
        seen = Elements(reply.text)
        told = {attributes["id"] for tag, attributes in seen.found if tag == "details"}
        found = await document(house)
        assert told == {each["operationId"] for methods in found["paths"].values() for each in methods.values()}
        assert all(path in seen.text for path in found["paths"])
        assert f"{house.url}/v1" in seen.text


@pytest.mark.req("F-152")
async def test_the_page_needs_nothing_from_elsewhere_and_runs_no_script(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        reply = await house.http.get("/docs")
        seen = Elements(reply.text)
        assert {tag for tag, _ in seen.found}.isdisjoint({"script", "link", "img", "iframe", "object", "base", "form"})
        assert not [
            name for _, attributes in seen.found for name in attributes if name.startswith("on") or name == "style"
        ]
        assert [attributes["href"] for tag, attributes in seen.found if tag == "a"] == [
            "/openapi.json",
            "/redoc",
        ]
        style = re.search(r"<style>(.*?)</style>", reply.text, re.DOTALL)
        assert style is not None
        digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert f"style-src 'sha256-{digest}'" in policy
        assert "frame-ancestors 'none'" in policy


@pytest.mark.req("F-152")
def test_the_page_is_made_of_text() -> None:
    evil = "<script>alert(1)</script>"
    operation = {"summary": evil, "description": evil, "operationId": evil, "responses": {"200": {"description": evil}}}
    found = {"info": {"title": evil, "version": "1", "description": evil}, "paths": {f"/{evil}": {"get": operation}}}
    assert "<script" not in page({**found, "components": {"schemas": {}}}, f"http://{evil}")


async def test_the_page_and_the_document_want_the_key(tmp_path: Path) -> None:
    async with serving(tmp_path, key=KEY) as house:
        for path in ("/docs", "/redoc", "/redoc/redoc.standalone.js", "/openapi.json"):
            assert (await house.http.get(path, headers={"X-API-Key": ""})).status_code == 401
            assert (await house.http.get(path)).status_code == 200
