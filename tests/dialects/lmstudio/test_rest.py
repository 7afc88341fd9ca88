"""LM Studio's REST: probes, lists, orders, downloads, errors, keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from lanhaven.errors import LoadFailed
from lanhaven.keys.store import FILE_NAME, KeyScope, KeyStore
from tests.dialects.lmstudio.words import V0List, V0Model, V1Model
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

MODELS = """\
default_model: alpha
models:
  - {id: alpha, provider: mock, aliases: [first]}
  - {id: qwen/qwen3-4b, provider: mock, description: Thinks.}
  - {id: eyes, provider: mock, config: {kind: vlm}}
  - {id: vectors, provider: mock, config: {kind: embedding}}
  - {id: order, provider: mock, config: {kind: reranker}}
"""


async def v0(house: House) -> dict[str, V0Model]:
    reply = await house.http.get("/api/v0/models")
    assert reply.status_code == 200
    return {each.id: each for each in V0List.model_validate_json(reply.content).data}


async def v1(house: House) -> dict[str, V1Model]:
    body = (await house.http.get("/api/v1/models")).json()
    assert set(body) == {"models"}
    return {each["key"]: V1Model.model_validate(each) for each in body["models"]}


async def error(reply: httpx2.Response) -> dict[str, Any]:
    body = reply.json()
    assert set(body) == {"error"}
    assert {"type", "message", "code"} <= set(body["error"])
    found: dict[str, Any] = body["error"]
    return found


async def test_the_probes(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        reply = await house.http.get("/lmstudio-greeting")
        assert (reply.status_code, reply.json()) == (200, {"lmstudio": True})
        status = (await house.http.get("/lms-status")).json()
        assert {name: type(value) for name, value in status.items()} == {"package": str, "version": str}


async def test_the_probes_need_no_key_but_a_proper_host(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, key="a-key-of-this-test") as house,
        httpx2.AsyncClient(base_url=house.url, trust_env=False) as stranger,
    ):
        for path in ("/lmstudio-greeting", "/lms-status"):
            assert (await stranger.get(path)).status_code == 200
            assert (await stranger.get(path, headers={"Authorization": "Bearer wrong"})).status_code == 200
            assert (await stranger.get(path, headers={"Host": "evil.example"})).status_code == 403
        for path in ("/api/v0/models", "/api/v1/models"):
            assert (await stranger.get(path)).status_code == 401
        refused = await error(await stranger.post("/api/v1/chat", json={"model": "alpha", "input": "x"}))
        assert (refused["type"], refused["code"]) == ("invalid_request", "invalid_api_key")


async def test_v0_lists_what_an_editor_can_parse(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        found = await v0(house)
        assert list(found) == ["alpha", "qwen/qwen3-4b", "eyes", "vectors"]  # a reranker has no word there
        assert [each.type for each in found.values()] == ["llm", "llm", "vlm", "embeddings"]
        assert found["alpha"].capabilities == ["tool_use"]
        assert found["eyes"].capabilities == ["tool_use", "vision"]
        assert {each.state for each in found.values()} == {"not-loaded"}
        assert found["alpha"].loaded_context_length is None
        assert found["qwen/qwen3-4b"].publisher == "qwen"
        await house.services.gateway.load("alpha", instance_id="mine")
        found = await v0(house)
        assert (found["alpha"].state, found["alpha"].loaded_context_length) == ("loaded", 8192)
        assert found["mine"].state == "loaded"


@pytest.mark.parametrize("path", ["qwen/qwen3-4b", "qwen%2Fqwen3-4b", "QWEN/qwen3"])
async def test_v0_shows_one_model_whose_name_has_a_slash(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path, MODELS) as house:
        reply = await house.http.get(f"/api/v0/models/{path}")
        assert V0Model.model_validate_json(reply.content).id == "qwen/qwen3-4b"


async def test_v0_errors_are_openais(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        reply = await house.http.get("/api/v0/models/nobody")
        assert reply.status_code == 404
        assert reply.json()["error"]["code"] == "model_not_found"
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


async def test_v1_lists_models_and_their_instances(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        found = await v1(house)
        assert list(found) == ["alpha", "qwen/qwen3-4b", "eyes", "vectors"]
        assert found["alpha"].loaded_instances == []
        assert found["qwen/qwen3-4b"].description == "Thinks."
        assert found["vectors"].type == "embedding"
        assert found["vectors"].capabilities is None
        eyes = found["eyes"].capabilities
        assert eyes is not None
        assert (eyes.vision, eyes.trained_for_tool_use) == (True, True)
        await house.http.post("/api/v1/models/load", json={"model": "alpha", "context_length": 1000})
        (instance,) = (await v1(house))["alpha"].loaded_instances
        assert (instance.id, instance.config.context_length, instance.config.parallel) == ("alpha", 1000, 4)


@pytest.mark.req("C29")
async def test_load_and_unload(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        reply = (await house.http.post("/api/v1/models/load", json={"model": "first"})).json()
        assert set(reply) == {"type", "instance_id", "load_time_seconds", "status"}
        assert (reply["type"], reply["instance_id"], reply["status"]) == ("llm", "alpha", "loaded")
        assert reply["load_time_seconds"] >= 0
        again = (await house.http.post("/api/v1/models/load", json={"model": "alpha"})).json()
        assert again["instance_id"] == "alpha"  # loaded alike: given again
        asked = {"model": "alpha", "context_length": 512, "flash_attention": True, "echo_load_config": True}
        other = (await house.http.post("/api/v1/models/load", json=asked)).json()
        assert other["instance_id"] == "alpha:2"
        assert other["load_config"] == {"context_length": 512, "parallel": 4, "flash_attention": True}
        for name in ("alpha:2", "ALPHA"):  # only the one that is named goes
            gone = await house.http.post("/api/v1/models/unload", json={"instance_id": name})
            assert (gone.status_code, gone.json()) == (200, {"instance_id": name.lower()})
        assert not house.services.pool.ids()
        missing = await house.http.post("/api/v1/models/unload", json={"instance_id": "alpha"})
        told = await error(missing)
        assert (missing.status_code, told["type"], told["param"]) == (404, "model_not_found", "instance_id")


async def test_a_load_is_not_active_where_another_model_is(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        await house.http.post("/api/v1/models/load", json={"model": "eyes"})
        await house.http.post("/api/v1/models/load", json={"model": "alpha"})
        assert house.services.gateway.active()[0] == "eyes"


async def test_what_a_load_cannot_apply_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        asked = {"model": "alpha", "eval_batch_size": 512, "num_experts": None, "offload_kv_cache_to_gpu": True, "x": 1}
        reply = (await house.http.post("/api/v1/models/load", json=asked)).json()
        assert [each["key"] for each in reply["ignored"]] == ["eval_batch_size", "offload_kv_cache_to_gpu", "x"]
        assert all(each["reason"] for each in reply["ignored"])


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("models/load", {}, (400, "invalid_request", "missing_required_parameter", "model")),
        ("models/load", {"model": 7}, (400, "invalid_request", "invalid_request", "model")),
        ("models/load", {"model": "x" * 2000}, (400, "invalid_request", "invalid_request", "model")),
        ("models/load", {"model": "alpha", "context_length": 0}, (400, "invalid_request", "invalid_request", "context_length")),
        ("models/load", {"model": "alpha", "echo_load_config": 1}, (400, "invalid_request", "invalid_request", "echo_load_config")),
        ("models/load", {"model": "nobody"}, (404, "model_not_found", "model_not_found", "model")),
        ("models/unload", {}, (400, "invalid_request", "missing_required_parameter", "instance_id")),
        ("models/download", {}, (400, "invalid_request", "missing_required_parameter", "model")),
        ("models/download", {"model": "someone/big"}, (404, "model_not_found", "model_not_found", "model")),
        ("models/download", {"model": "smollm2", "quantization": "Q8_0"}, (400, "invalid_request", "invalid_request", "quantization")),
    ],
)  # fmt: skip
async def test_errors_name_the_field(
    tmp_path: Path, path: str, body: dict[str, Any], expected: tuple[int, str, str, str]
) -> None:
    async with serving(tmp_path, MODELS) as house:
        reply = await house.http.post(f"/api/v1/{path}", json=body)
        told = await error(reply)
        assert (reply.status_code, told["type"], told["code"], told["param"]) == expected


async def test_errors_of_engines_and_of_the_method(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        house.mock.fail_loads("alpha", LoadFailed("It is broken."))
        reply = await house.http.post("/api/v1/models/load", json={"model": "alpha"})
        told = await error(reply)
        assert (reply.status_code, told["type"], told["code"], told["message"]) == (
            500, "internal_error", "load_failed", "It is broken.",
        )  # fmt: skip
        wrong = await house.http.get("/api/v1/models/load")
        assert (wrong.status_code, (await error(wrong))["code"]) == (405, "method_not_allowed")
        broken = await house.http.post("/api/v1/models/load", content=b"{nonsense")
        assert (await error(broken))["type"] == "invalid_request"


async def test_a_download_ends_in_the_catalog(tmp_path: Path, smollm2: Path) -> None:
    """The file lies there already, so the job has nothing to fetch; how fetching goes is told in test_downloads."""
    folder = tmp_path / "data" / "models"
    folder.mkdir(parents=True)
    (folder / smollm2.name).symlink_to(smollm2)
    async with serving(tmp_path, "models:\n  - {id: alpha, provider: mock}\n") as house:
        asked = {"model": "smollm2", "quantization": "q4_1"}
        begun = (await house.http.post("/api/v1/models/download", json=asked)).json()
        assert begun["job_id"].startswith("job_")
        assert begun["status"] == "downloading"
        assert begun["started_at"].endswith("Z")
        async for _ in house.services.downloads.follow(begun["job_id"]):
            pass
        state = (await house.http.get(f"/api/v1/models/download/status/{begun['job_id']}")).json()
        assert state["status"] == "completed"
        assert state["downloaded_bytes"] == state["total_size_bytes"] > 90_000_000
        assert state["completed_at"] >= state["started_at"]
        assert "smollm2" in await v1(house)
        assert house.services.catalog.default_model == "smollm2"


async def test_what_is_here_is_not_downloaded(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        reply = (await house.http.post("/api/v1/models/download", json={"model": "alpha"})).json()
        assert reply == {"status": "already_downloaded", "total_size_bytes": 0}
        unknown = await house.http.get("/api/v1/models/download/status/job_nothing")
        assert (unknown.status_code, (await error(unknown))["type"]) == (404, "job_not_found")


@pytest.mark.parametrize("lmstudio", [False, True])
async def test_orders_need_an_admin_key_and_inference_does_not(tmp_path: Path, lmstudio: bool) -> None:
    """With our own kind of key, and with one of the form of LM Studio's API tokens."""
    (tmp_path / "config").mkdir()
    key = KeyStore(tmp_path / "config" / FILE_NAME).add("laptop", [KeyScope.INFERENCE], lmstudio=lmstudio)
    assert key.startswith("sk-lm-") == lmstudio
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        serving(tmp_path, MODELS, key="an-admin-key-of-this-test") as house,
        httpx2.AsyncClient(base_url=house.url, headers=headers, trust_env=False) as laptop,
    ):
        assert (await laptop.get("/api/v0/models")).status_code == 200
        assert (await laptop.get("/api/v1/models")).status_code == 200
        assert (await laptop.post("/api/v1/chat", json={"model": "alpha", "input": "x"})).status_code == 200
        for path in ("load", "unload", "download"):
            refused = await laptop.post(f"/api/v1/models/{path}", json={})
            assert refused.status_code == 403
            assert (await error(refused))["type"] == "invalid_request"
