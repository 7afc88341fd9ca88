"""/openapi.json tells of every route of the server and of no other; its examples work, and are answered as it says."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
from fastapi.openapi.utils import get_openapi
from openapi_spec_validator import OpenAPIV31SpecValidator

from lanhaven.dialects import all_dialects
from lanhaven.dialects.openai.fields import CHECKS, check_fields
from lanhaven.errors import InvalidRequest
from lanhaven.server.app import Router
from lanhaven.server.schema.families import family_schemas, joined
from lanhaven.server.schema.parts import EVENTS, LINES
from tests.schema.houses import MODELS, Schemas, examples, operations
from tests.serving import House, native_of, serving

pytestmark = pytest.mark.anyio

KEY = "sk-lan-a-key-of-this-server"  # what the example of signing in sends
REQUESTS = ("ChatRequest", "ImageForm", "CompletionRequest", "EmbeddingRequest", "RerankRequest")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[House]:
    async with serving(tmp_path_factory.mktemp("house"), MODELS, key=KEY, history=True) as house:
        yield house


@pytest.fixture(scope="module")
async def document(house: House) -> dict[str, Any]:
    found: dict[str, Any] = (await house.http.get("/openapi.json")).json()
    return found


@pytest.fixture(scope="module")
def schemas(document: dict[str, Any]) -> Schemas:
    return Schemas(document)


@pytest.mark.req("S4-27")
async def test_the_document_is_openapi(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


async def test_operations_have_names_that_are_good_for_methods(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    assert [name for name in names if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name)] == []
    assert [operation for _, _, operation in operations(document) if not operation.get("summary")] == []


async def test_the_document_says_where_the_server_is_and_nothing_of_its_making(
    house: House, document: dict[str, Any]
) -> None:
    assert document["servers"] == [{"url": house.url}]
    assert re.findall(r"\b(?:S\d-x?|C|F-)\d+", json.dumps(document)) == []


async def test_no_schema_stands_unused(document: dict[str, Any]) -> None:
    used = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert used == set(document["components"]["schemas"])


# ---- routes


def served(house: House) -> Iterator[tuple[str, str]]:
    """Every route of the server as (method, path); a path that takes a name ends in "/". Aliases without /v1 apart."""
    paths = Router(all_dialects(house.services.dialect_context)).paths()
    for path, methods in paths.items():
        if f"/v1{path}" not in paths:
            yield from ((method.lower(), path) for method in methods)
    native = native_of(house.services)
    for path, described in get_openapi(title="x", version="x", routes=native.routes)["paths"].items():
        yield from ((method, path) for method in described)
    for route in native.routes:  # those that FastAPI does not describe
        known = vars(route)
        if "path" in known and "methods" in known:
            yield from ((method.lower(), known["path"]) for method in known["methods"])


def covers(documented: str, path: str) -> bool:
    """Whether a path of the document is of this route."""
    if path.endswith("/") and path != "/":
        return documented.startswith(f"{path}{{")
    return documented == path.replace(":path", "")


async def test_every_route_stands_in_the_document(house: House, document: dict[str, Any]) -> None:
    told = [(method, path) for path, method, _ in operations(document)]
    told += [("head", path) for method, path in told if method == "get"]
    routes = list(served(house))
    assert len(routes) > 50
    assert [(m, p) for m, p in routes if not any(m == method and covers(path, p) for method, path in told)] == []


async def test_nothing_else_stands_in_the_document(house: House, document: dict[str, Any]) -> None:
    routes = [*served(house), ("get", "/")]
    told = [(method, path) for path, method, _ in operations(document)]
    assert [(m, p) for m, p in told if not any(m == method and covers(p, path) for method, path in routes)] == []


def test_nothing_is_described_twice() -> None:
    with pytest.raises(ValueError, match="described twice: a"):
        joined({"a": 1, "b": 2}, {"a": 1})


# ---- what is told of a body


@pytest.mark.parametrize("name", REQUESTS)
def test_the_bounds_are_those_that_are_checked(name: str) -> None:
    for field, schema in family_schemas()[name]["properties"].items():
        if field not in CHECKS or "minimum" not in schema:
            continue
        for good in (schema["minimum"], schema["maximum"]):
            check_fields({field: good})
        for bad in (schema["minimum"] - 1, schema["maximum"] + 1):
            with pytest.raises(InvalidRequest):
                check_fields({field: bad})


async def test_every_body_has_an_example_of_its_schema(document: dict[str, Any], schemas: Schemas) -> None:
    told = examples(document)
    missing = {op["operationId"] for _, _, op in operations(document) if "requestBody" in op} - set(told)
    assert missing == set()
    for path, method, operation in operations(document):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            assert schemas.problems(content["example"], content["schema"]) == [], (method, path)


# ---- what is answered


def reply_schema(document: dict[str, Any], path: str, method: str, reply: httpx2.Response) -> dict[str, Any]:
    """What the document says of a reply with this status and media type; it must say something."""
    replies = document["paths"][path][method]["responses"]
    status = str(reply.status_code)
    told = replies.get(status, replies["default"])
    assert status in replies or reply.is_error, f"{method} {path} answers {status}, which is not told"
    media = reply.headers["content-type"].partition(";")[0]
    assert media in told["content"], f"{method} {path} answers {media}, which is not told"
    found: dict[str, Any] = told["content"][media]
    return found


def items(reply: httpx2.Response) -> list[Any]:
    """Events or lines of a stream, without its end mark and comments."""
    lines = reply.text.splitlines()
    if reply.headers["content-type"].startswith(EVENTS):
        lines = [line.removeprefix("data: ") for line in lines if line.startswith("data: ") and "[DONE]" not in line]
    return [json.loads(line) for line in lines]


async def ask(house: House, method: str, path: str, body: Any, media: str) -> httpx2.Response:
    if media == "multipart/form-data":
        return await house.http.request(method, path, files={name: (None, str(value)) for name, value in body.items()})
    if "input_file_id" in body:
        file = await house.http.post("/v1/files", files={"purpose": (None, "batch"), "file": ("a.jsonl", b"{}")})
        body = {**body, "input_file_id": file.json()["id"]}
    return await house.http.request(method, path, json=body)


@pytest.mark.req("S4-27")
async def test_the_examples_are_answered_as_the_document_says(
    house: House, document: dict[str, Any], schemas: Schemas
) -> None:
    told = examples(document)
    assert len(told) > 25
    for method, path, body, media in told.values():
        await house.http.post("/admin/models/load", json={"modelKey": "smollm2"})  # others are of unloading it
        reply = await ask(house, method, path.replace("{name}", "laptop"), body, media)
        assert reply.is_success, f"{path}: {reply.text}"
        if reply.status_code == 204:
            assert "204" in document["paths"][path][method]["responses"]
            continue
        schema = reply_schema(document, path, method, reply)
        assert schemas.problems(reply.json(), schema["schema"]) == [], f"{path}: {reply.text}"


async def test_streams_are_as_the_document_says(house: House, document: dict[str, Any], schemas: Schemas) -> None:
    streamed = 0
    for method, path, body, media in examples(document).values():
        content = document["paths"][path][method]["responses"].get("200", {}).get("content", {})
        if media != "application/json" or content.keys().isdisjoint({EVENTS, LINES}):
            continue
        reply = await ask(house, method, path, {**body, "stream": True}, media)
        schema = reply_schema(document, path, method, reply)
        said = items(reply)
        assert len(said) > 1, f"{path}: {reply.text}"
        problems = [problem for item in said for problem in schemas.problems(item, schema["x-item-schema"])]
        assert problems == [], f"{path}: {reply.text}"
        streamed += 1
    assert streamed > 8


async def test_what_is_read_is_as_the_document_says(house: House, document: dict[str, Any], schemas: Schemas) -> None:
    await house.http.post("/admin/models/load", json={"modelKey": "smollm2"})
    made = (await house.http.post("/v1/responses", json={"model": "smollm2", "input": "Hello"})).json()["id"]
    job = (await house.http.post("/api/v1/ai/lmstudio/infer", json=examples(document)["chat"][2])).json()["job_id"]
    await house.http.post("/admin/bodies", json={"enabled": True})
    asked = (await house.http.post("/v1/chat/completions", json=examples(document)["chat"][2])).headers["x-request-id"]
    names = {"/v1/responses": made, "/api/v1/ai": job, "/debug/requests": asked}
    for path, method, operation in operations(document):
        if method != "get" or operation["operationId"] in ("debug_stream", "debug_logs_stream"):
            continue
        name = next((each for start, each in names.items() if path.startswith(start)), "smollm2")
        reply = await house.http.get(re.sub(r"\{\w+\}", name, path))
        if reply.is_redirect:
            assert str(reply.status_code) in operation["responses"]
            continue
        content = reply_schema(document, path, method, reply)
        if reply.headers["content-type"].startswith(EVENTS):
            assert [p for item in items(reply) for p in schemas.problems(item, content["x-item-schema"])] == [], path
        elif reply.headers["content-type"].startswith("application/json"):
            assert schemas.problems(reply.json(), content["schema"]) == [], path


async def test_errors_are_as_the_document_says(house: House, document: dict[str, Any], schemas: Schemas) -> None:
    """Of a body that is none, and of a model that is not there."""
    for method, path, body, media in examples(document).values():
        absent = {**body, "model": "not-here", "modelKey": "not-here", "instance_id": "not-here"}
        for wrong in ([1], absent) if media == "application/json" else ():
            reply = await house.http.request(method, path.replace("{name}", "laptop"), json=wrong)
            assert reply.status_code == 400 or wrong is absent, f"{path}: {reply.text}"
            schema = reply_schema(document, path, method, reply)
            assert schemas.problems(reply.json(), schema["schema"]) == [], f"{path}: {reply.text}"
