"""Hostile bodies on every route that takes one: the routes and what works there are the document's examples."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lanhaven.dialects.openai.fields import FORBIDDEN
from lanhaven.events import InferenceStart
from tests.schema.houses import MODELS, Schemas, examples
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}
NO_OBJECT = [
    b"", b" ", b"null", b"[]", b'"text"', b"{}{}", b'{"a": 1,}', b"{'a': 1}", b'{"a": NaN}', b'{"a": 1e999}',
    b'{"a": "\\ud800"}', b'{"a": "\xff"}', b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}", b"\x16\xe9f\x1b",
]  # fmt: skip
ESCAPES = [
    "../../../etc/passwd", "/etc/passwd", "..\\..\\secret", "-m", "--help", "$(reboot)", "`reboot`", "a;reboot", "a\nb",
    "a\x00b", "%2e%2e%2f", "file:///etc/passwd", "a" * 10_000, "\u202e", "CON", "~/.ssh/id_rsa",
]  # fmt: skip
NAMED_ELSEWHERE = ("/v1/batch", "/admin/models/add")  # the model of a line, or of another server
NO_BODY = ("/admin/models/refresh", "/admin/keys/{name}/rotate")  # take one, and need none


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[House]:
    async with serving(tmp_path_factory.mktemp("house"), MODELS) as house:
        yield house


@pytest.fixture(scope="module")
async def document(house: House) -> dict[str, Any]:
    found: dict[str, Any] = (await house.http.get("/openapi.json")).json()
    return found


@pytest.fixture(scope="module")
def bodies(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Path -> a body that works there."""
    told = examples(document).values()
    return {path: body for method, path, body, media in told if media == "application/json" and path not in NO_BODY}


async def refused(house: House, document: dict[str, Any], path: str, body: bytes) -> str:
    """The text of the refusal, which must be a 400 in the words of the route's own dialect."""
    method = next(each for each in ("post", "patch") if each in document["paths"][path])
    reply = await house.http.request(method, path.format(name="laptop"), content=body, headers=JSON)
    assert reply.status_code == 400, (path, body[:100], reply.text[:300])
    replies = document["paths"][path][method]["responses"]
    schema = replies.get("400", replies["default"])["content"]["application/json"]["schema"]
    assert Schemas(document).problems(reply.json(), schema) == [], (path, reply.text)
    return reply.text


def begun(house: House) -> int:
    return len(house.named(InferenceStart))


@pytest.mark.req("F-121")
async def test_what_is_not_one_json_object(house: House, document: dict[str, Any], bodies: dict[str, Any]) -> None:
    before = begun(house)
    assert len(bodies) > 25
    for path in bodies:
        for body in NO_OBJECT:
            await refused(house, document, path, body)
    assert begun(house) == before


@pytest.mark.req("F-122")
async def test_what_is_nested_too_deeply(house: House, document: dict[str, Any], bodies: dict[str, Any]) -> None:
    for path, body in bodies.items():
        for levels in (65, 5000):
            deep = b"[" * (levels - 1) + b"]" * (levels - 1)
            assert "nested" in await refused(
                house, document, path, json.dumps(body).encode()[:-1] + b', "metadata": ' + deep + b"}"
            )


@pytest.mark.req("F-125")
async def test_a_field_that_stands_twice(house: House, document: dict[str, Any], bodies: dict[str, Any]) -> None:
    before = begun(house)
    for path, body in bodies.items():
        name = next(iter(body))
        for spaces in ((",", ":"), (", ", ": ")):
            whole = json.dumps(body, separators=spaces).encode()[:-1]
            for more in (b',"%s":"x"}' % name.encode(), b',"x":{"a":1,"a":1}}', b',"x":[{"a":1, "\\u0061" :1}]}'):
                assert "stands twice" in await refused(house, document, path, whole + more)
    assert begun(house) == before


@pytest.mark.req("F-128")
async def test_no_field_of_an_engines_insides_gets_there(
    house: House, document: dict[str, Any], bodies: dict[str, Any]
) -> None:
    """Neither beside the others, nor in Ollama's `options`."""
    evil = {name: {"url": "http://127.0.0.1:1/x"} for name in FORBIDDEN}
    words = {"enable_thinking": False, "messages": [], "bos_token": "x", "add_generation_prompt": False}
    asked = 0
    for path, body in bodies.items():
        if path.startswith(("/admin", "/api/v1/models", "/api/pull", "/api/show", "/v1/batches")):
            continue
        before = len(house.seen)
        fields = {**evil, "chat_template_kwargs": words, "cache_prompt": False}
        if "OllamaError" in json.dumps(document["paths"][path]):
            fields["options"] = {**evil, "num_ctx": 512}
        reply = await house.http.post(path, json={**body, **fields})
        assert reply.status_code in (200, 202, 400), (path, reply.text)
        for seen in house.seen[before:]:
            asked += 1
            assert FORBIDDEN.isdisjoint(seen.body), path
            assert FORBIDDEN.isdisjoint(seen.body.get("options", ())), path
            told = seen.body.get("chat_template_kwargs", {})
            assert set(told) <= {"enable_thinking"}, path
    assert asked > 10


@pytest.mark.req("F-130")
async def test_names_made_to_escape_are_not_found(
    house: House, document: dict[str, Any], bodies: dict[str, Any]
) -> None:
    before = begun(house), set(house.services.pool.ids())
    for path, body in bodies.items():
        field = next((name for name in ("model", "modelKey", "instance_id") if name in body), None)
        if field is None or path.startswith(NAMED_ELSEWHERE):
            continue
        for name in ESCAPES:
            reply = await house.http.post(path, json={**body, field: name})
            assert reply.status_code in (400, 404), (path, name, reply.text[:300])
            assert reply.status_code == 404 or len(name) > 500, (path, name, reply.text[:300])
            replies = document["paths"][path]["post"]["responses"]
            schema = replies.get(str(reply.status_code), replies["default"])["content"]["application/json"]["schema"]
            assert Schemas(document).problems(reply.json(), schema) == [], (path, reply.text)
            assert len(reply.content) < 2000, (path, name)
    assert set(house.services.pool.ids()) == before[1]
