"""Health, readiness, capabilities."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanhaven.config.published import NAMES, published
from tests.serving import serving

pytestmark = pytest.mark.anyio

KEY = "sk-test-0123456789abcdef0123456789abcdef"


@pytest.mark.req("S0-04", "C5", "S1-34", "S3-28", "S0-91")
async def test_health_is_the_union_of_what_clients_know(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.chat()
        reply = await house.http.get("/health")
        body = reply.json()
        assert reply.status_code == 200
        assert body["status"] == "ok"
        assert body["timestamp"].endswith("Z")
        assert isinstance(body["uptime"], float)
        assert isinstance(body["uptime_ms"], int)
        assert body["api_version"] == "v1"
        assert body["models_loaded"] == 1
        assert body["backends"]["mock"]["ok"] is True


@pytest.mark.req("S0-04", "S0-85")
async def test_health_needs_no_key_unless_it_is_told_to(tmp_path: Path) -> None:
    async with serving(tmp_path, key=KEY) as house:
        assert (await house.http.get("/health", headers={"X-API-Key": ""})).status_code == 200
    async with serving(tmp_path, key=KEY, require_auth_for_health=True) as house:
        assert (await house.http.get("/health", headers={"X-API-Key": "wrong"})).status_code == 401
        assert (await house.http.get("/health")).status_code == 200


async def test_addresses_are_for_callers_with_a_key(tmp_path: Path) -> None:
    async with serving(tmp_path, key=KEY) as house:
        open_body = await house.http.get("/health", headers={"X-API-Key": ""})
        assert "address" not in open_body.text


@pytest.mark.req("P25")
async def test_probes(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        assert (await house.http.get("/livez")).json() == {"status": "ok"}
        assert (await house.http.get("/readyz")).status_code == 200
        house.shutdown.begin("test")
        assert (await house.http.get("/readyz")).status_code == 503


@pytest.mark.parametrize("name", NAMES)
async def test_the_schemas_for_editors_are_served_without_a_key(tmp_path: Path, name: str) -> None:
    async with serving(tmp_path, key=KEY) as house:
        reply = await house.http.get(f"/schema/{name}.json", headers={"X-API-Key": ""})
        assert (reply.status_code, reply.headers["content-type"]) == (200, "application/schema+json")
        assert reply.text == published(name)
        assert (await house.http.get("/schema/other.json")).status_code == 404


async def test_not_ready_without_a_model_that_can_run(tmp_path: Path) -> None:
    models = "models:\n  - {id: lost, provider: llama_cpp, enabled: true, config: {model_path: /nowhere/at/all.gguf}}\n"
    async with serving(tmp_path, models) as house:
        reply = await house.http.get("/readyz")
        if not any(each.provider == "mock" for each in house.services.catalog.models()):
            assert reply.status_code == 503
            assert reply.json()["reason"] == "no model can run here"


@pytest.mark.req("S4-x10")
async def test_capabilities_say_what_is_true(tmp_path: Path) -> None:
    async with serving(tmp_path, max_loaded_models=3) as house:
        body = (await house.http.get("/v1/capabilities")).json()
        assert body["features"]["streaming"] is True
        assert body["features"]["model_caching"] == {"cache_size": 3, "eviction_policy": "LRU"}
        assert "mock" in body["providers"]


def folder(parent: Path, name: str) -> Path:
    (parent / name).mkdir()
    return parent / name


@pytest.mark.req("S4-14", "S4-x10")
async def test_capabilities_tell_of_images(tmp_path: Path) -> None:
    models = "models: [{id: eyes, provider: mock, enabled: true, config: {kind: vlm}}]"
    said = {"max_images_per_request": 4, "max_image_bytes": 5 << 20, "image_max_side": 512, "image_hosts": ["x.org"]}
    async with serving(folder(tmp_path, "a"), models, **said) as house:
        body = (await house.http.get("/v1/capabilities")).json()
        assert body["endpoints"]["fast_vision"] == "/v1/chat/completions/multipart"
        assert (
            body["features"]["vision_models"] is body["features"]["images"] is body["features"]["remote_images"] is True
        )
        assert body["features"]["image_formats"] == ["JPEG", "PNG", "WEBP", "BMP", "GIF"]
        limits = {"max_images_per_request": 4, "max_image_size_mb": 5.0, "image_max_side": 512}
        assert limits.items() <= body["limits"].items()
        assert body["recommendations"]["image_quality"] == 85
    async with serving(folder(tmp_path, "b")) as house:
        features = (await house.http.get("/v1/capabilities")).json()["features"]
        assert features["vision_models"] is features["remote_images"] is False


@pytest.mark.req("S4-x12")
async def test_performance(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.chat()
        body = (await house.http.get("/v1/performance")).json()
        assert body["metrics"]["totalRequests"] == 1
        assert len(body["recent"]) == 1


async def test_the_root_answers_probes(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        assert (await house.http.get("/")).status_code == 200
        assert (await house.http.head("/")).content == b""


@pytest.mark.req("S0-x13")
async def test_unknown_paths(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        for path in ("/nowhere", "/v1/debug/status", "/v1/admin/models", "/v1/health"):
            reply = await house.http.get(path)
            assert reply.status_code == 404, path
            assert reply.json()["error"] == "Not found"
            assert reply.headers["x-request-id"].startswith("req_")


async def test_the_openapi_document_names_every_native_route(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        paths = (await house.http.get("/openapi.json")).json()["paths"]
        assert {"/admin/models", "/admin/models/load", "/debug/status", "/health"} <= set(paths)
