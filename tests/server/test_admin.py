"""The admin API over real sockets: shapes of S0-05..37 and what happens behind them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanhaven.events import ModelActivate, ModelLoadComplete, ModelLoadStart, ModelUnloadComplete, ModelUnloadStart
from tests.serving import serving

pytestmark = pytest.mark.anyio


@pytest.mark.req("S0-05", "S0-06", "S0-07", "S1-14")
async def test_models_in_memory_and_models_that_could_run(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        before = (await house.http.get("/admin/models")).json()
        assert before["loaded"] == []
        assert {each["path"] for each in before["downloaded"]} >= {"alpha", "beta", "gamma"}
        assert all(isinstance(each["size"], int) and each["type"] == "llm" for each in before["downloaded"])
        await house.http.post("/admin/models/load", json={"modelKey": "alpha", "instanceId": "primary"})
        (loaded,) = (await house.http.get("/admin/models")).json()["loaded"]
        assert (loaded["path"], loaded["identifier"], loaded["state"]) == ("alpha", "primary", "ready")
        assert loaded["active"] is True


@pytest.mark.req("S0-08", "S0-09", "S0-11", "S0-28", "S0-29", "S1-16", "S1-31")
async def test_the_smallest_load_loads_and_activates(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        reply = await house.http.post("/admin/models/load", json={"modelKey": "alpha"})
        body = reply.json()
        assert reply.status_code == 200
        assert body["status"] == "loaded"
        assert body["modelKey"] == "alpha"
        assert body["instanceId"] == "alpha"
        assert body["activated"] is True
        assert isinstance(body["totalTimeMs"], int)
        assert body["message"].startswith("Model loaded successfully via ")
        status = (await house.http.get("/debug/status")).json()
        assert status["activeModel"]["instanceId"] == "alpha"


FULL = {
    "modelKey": "alpha",
    "instanceId": "primary",
    "loadConfig": {
        "contextLength": 8192,
        "gpu": {"ratio": 1.0, "layers": 32},
        "cpuThreads": 4,
        "ropeFrequencyBase": 10000,
        "ropeFrequencyScale": 1.0,
    },
    "defaultInference": {
        "temperature": 0.7,
        "maxTokens": 12,
        "topP": 0.9,
        "topK": 40,
        "repeatPenalty": 1.1,
        "stopStrings": ["END"],
        "stream": False,
    },
    "activate": True,
}


@pytest.mark.req(
    "S0-10", "S0-12", "S0-13", "S0-20", "S0-21", "S0-22", "S0-23", "S0-24", "S0-25", "S0-26", "S0-27", "S0-44"
)
async def test_the_full_load_keeps_its_defaults_and_injects_them(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        body = (await house.http.post("/admin/models/load", json=FULL)).json()
        assert body["defaultInference"] == FULL["defaultInference"]
        assert (await house.chat()).status_code == 200
        sent = house.sent
        assert (sent["temperature"], sent["max_tokens"], sent["top_p"], sent["top_k"]) == (0.7, 12, 0.9, 40)
        assert (sent["repeat_penalty"], sent["stop"], sent["stream"]) == (1.1, ["END"], False)


@pytest.mark.req("C14", "S0-13", "S1-02")
async def test_a_load_says_what_was_applied_and_what_was_ignored(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        body = (await house.http.post("/admin/models/load", json=FULL)).json()
        named = set(body["applied"]) | {each["key"] for each in body["ignored"]}
        assert {"contextLength", "cpuThreads", "gpu.layers", "ropeFrequencyBase", "ropeFrequencyScale"} <= named
        assert all(each["reason"] for each in body["ignored"])


@pytest.mark.req("C20", "S0-x15")
async def test_snake_case_is_understood(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        body = {"model_key": "alpha", "instance_id": "one", "default_inference": {"max_tokens": 3}, "ttl_seconds": 60}
        reply = (await house.http.post("/admin/models/load", json=body)).json()
        assert (reply["instanceId"], reply["defaultInference"]) == ("one", {"maxTokens": 3})


@pytest.mark.req("S0-45")
async def test_a_request_overrides_the_defaults_and_null_is_not_silence(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.http.post("/admin/models/load", json=FULL)
        await house.chat(temperature=0.1, top_p=None, max_completion_tokens=4)
        sent = house.sent
        assert sent["temperature"] == 0.1
        assert sent["top_p"] is None
        assert "max_tokens" not in sent
        assert sent["top_k"] == 40


@pytest.mark.req("S0-30", "S0-75", "C8", "S1-26")
async def test_loading_what_does_not_exist(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        reply = await house.http.post("/admin/models/load", json={"modelKey": "invalid-model"})
        body = reply.json()
        assert reply.status_code == 404
        assert body["status"] == "not_found"
        assert body["modelKey"] == "invalid-model"
        assert body["message"] == body["error"] == "Model not found: invalid-model"
        assert "instanceId" not in body


@pytest.mark.req("S1-27", "C29")
async def test_an_identifier_in_use_is_a_conflict(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        body = {"modelKey": "alpha", "instanceId": "one"}
        assert (await house.http.post("/admin/models/load", json=body)).status_code == 200
        again = await house.http.post("/admin/models/load", json=body)
        assert again.status_code == 409
        assert again.json()["error"] == "Model already loaded: alpha (instance: one)"


@pytest.mark.req("C29")
@pytest.mark.parametrize("name", ["beta", "auto", "default", "second"])
async def test_an_identifier_that_means_something_else_is_a_conflict(tmp_path: Path, name: str) -> None:
    models = "models:\n  - {id: alpha, provider: mock}\n  - {id: beta, provider: mock, aliases: [second]}\n"
    async with serving(tmp_path, models) as house:
        body = {"modelKey": "alpha", "instanceId": name}
        assert (await house.http.post("/admin/models/load", json=body)).status_code == 409
        assert house.services.pool.ids() == {}


async def test_loading_again_without_an_identifier_gives_what_is_there_or_a_second_one(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        first = (await house.http.post("/admin/models/load", json={"modelKey": "alpha"})).json()
        same = (await house.http.post("/admin/models/load", json={"modelKey": "alpha"})).json()
        less = {"modelKey": "alpha", "loadConfig": {"contextLength": 512}}
        fitting = (await house.http.post("/admin/models/load", json=less)).json()
        assert (fitting["reused"], fitting["instanceId"]) == (True, "alpha"), "it holds as much, and more"
        other = {"modelKey": "alpha", "loadConfig": {"contextLength": 1 << 20}}
        second = (await house.http.post("/admin/models/load", json=other)).json()
        assert (first["reused"], same["reused"], same["instanceId"]) == (False, True, first["instanceId"])
        assert (second["reused"], second["instanceId"]) == (False, "alpha:2")


@pytest.mark.req("S0-32", "S0-33", "S0-71", "S1-17")
async def test_unloading(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.http.post("/admin/models/load", json={"modelKey": "alpha", "instanceId": "primary"})
        body = (
            await house.http.post("/admin/models/unload", json={"modelKey": "alpha", "instanceId": "primary"})
        ).json()
        assert (body["status"], body["modelKey"], body["instanceId"]) == ("unloaded", "alpha", "primary")
        assert isinstance(body["totalTimeMs"], int)
        assert body["message"].startswith("Model unloaded successfully via ")
        assert (await house.http.get("/admin/models")).json()["loaded"] == []
        active = (await house.http.get("/debug/status")).json()["activeModel"]
        assert active["modelKey"] is None


@pytest.mark.req("S0-34", "C21")
@pytest.mark.parametrize("instance", [None, "ghost"])
async def test_unloading_what_is_not_loaded(tmp_path: Path, instance: str | None) -> None:
    async with serving(tmp_path) as house:
        body = {"modelKey": "alpha"} | ({"instanceId": instance} if instance else {})
        reply = await house.http.post("/admin/models/unload", json=body)
        suffix = f" (instance: {instance})" if instance else ""
        assert reply.status_code == 404
        assert reply.json()["status"] == "not_found"
        assert reply.json()["message"] == f"Model not found: alpha{suffix}"
        assert reply.json().get("instanceId") == instance


@pytest.mark.req("S0-35", "S0-36", "S0-37", "S0-69", "C15", "S1-18", "S1-24", "F-068")
async def test_instances_of_one_model_keep_their_own_defaults(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        for name, heat, top in (("creative", 1.2, 0.95), ("factual", 0.1, 0.5)):
            defaults = {"temperature": heat, "topP": top}
            await house.http.post(
                "/admin/models/load", json={"modelKey": "alpha", "instanceId": name, "defaultInference": defaults}
            )
        for name, heat in (("creative", 1.2), ("factual", 0.1), ("creative", 1.2)):
            reply = await house.http.post("/admin/models/activate", json={"modelKey": "alpha", "instanceId": name})
            assert reply.json()["status"] == "activated"
            assert reply.json()["defaultInference"]["temperature"] == heat
            await house.chat()
            assert house.sent["temperature"] == heat
        await house.http.post("/admin/models/unload", json={"modelKey": "alpha", "instanceId": "creative"})
        (left,) = (await house.http.get("/admin/models")).json()["loaded"]
        assert left["identifier"] == "factual"


@pytest.mark.req("S0-35", "C15")
async def test_activate_replaces_or_merges_defaults(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        load = {"modelKey": "alpha", "defaultInference": {"temperature": 0.5, "topK": 7}}
        await house.http.post("/admin/models/load", json=load)
        merge = {"modelKey": "alpha", "defaultInference": {"temperature": 0.9}, "merge": True}
        assert (await house.http.post("/admin/models/activate", json=merge)).json()["defaultInference"] == {
            "temperature": 0.9,
            "topK": 7,
        }
        replace = {"modelKey": "alpha", "defaultInference": {"maxTokens": 5}}
        assert (await house.http.post("/admin/models/activate", json=replace)).json()["defaultInference"] == {
            "maxTokens": 5
        }


@pytest.mark.req("F-069")
async def test_activating_what_is_not_loaded(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        reply = await house.http.post("/admin/models/activate", json={"modelKey": "beta"})
        assert reply.status_code == 404
        assert reply.json()["status"] == "not_found"


@pytest.mark.req("F-069", "S0-43")
async def test_without_an_active_or_default_model_a_request_must_name_one(tmp_path: Path) -> None:
    models = "models:\n  - {id: alpha, provider: mock, enabled: true}\n"
    async with serving(tmp_path, models) as house:
        reply = await house.chat()
        assert reply.status_code == 400
        assert reply.json()["error"]["code"] == "no_active_model"


@pytest.mark.req("S0-74", "F-074", "S0-x2")
@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, ["modelKey"]),
        ({"modelKey": ""}, ["modelKey"]),
        ({"modelKey": 5}, ["modelKey"]),
        ({"modelKey": "alpha", "loadConfig": {"contextLength": 10**9}}, ["loadConfig", "contextLength"]),
        ({"modelKey": "alpha", "loadConfig": {"contextLength": 0}}, ["loadConfig", "contextLength"]),
        ({"modelKey": "alpha", "loadConfig": {"gpu": {"ratio": 7}}}, ["loadConfig", "gpu", "ratio"]),
        ({"modelKey": "alpha", "loadConfig": {"gpu": {"layers": -5}}}, ["loadConfig", "gpu", "layers"]),
        ({"modelKey": "alpha", "loadConfig": {"cpuThreads": 0}}, ["loadConfig", "cpuThreads"]),
        ({"modelKey": "alpha", "loadConfig": {"contextLenght": 4096}}, ["loadConfig", "contextLenght"]),
        ({"modelKey": "alpha", "defaultInference": {"temperature": 3}}, ["defaultInference", "temperature"]),
        ({"modelKey": "alpha", "ttlSeconds": -1}, ["ttlSeconds"]),
    ],
)
async def test_bad_loads_change_nothing(tmp_path: Path, body: dict[str, object], path: list[str]) -> None:
    async with serving(tmp_path) as house:
        reply = await house.http.post("/admin/models/load", json=body)
        assert reply.status_code == 400
        assert reply.json()["error"] == "Validation failed"
        (issue,) = reply.json()["details"]
        assert set(issue) == {"code", "expected", "received", "path", "message"}
        assert issue["path"] == path
        assert house.named(ModelLoadStart) == []


@pytest.mark.req("S0-74")
async def test_a_missing_field_reads_as_it_always_did(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        reply = await house.http.post("/admin/models/load", json={})
        assert reply.json()["details"] == [
            {
                "code": "invalid_type",
                "expected": "string",
                "received": "undefined",
                "path": ["modelKey"],
                "message": "Required",
            }
        ]


async def test_not_a_number_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        content = b'{"modelKey": "alpha", "loadConfig": {"ropeFrequencyBase": NaN}}'
        headers = {"content-type": "application/json"}
        reply = await house.http.post("/admin/models/load", content=content, headers=headers)
        assert reply.status_code == 400
        assert house.named(ModelLoadStart) == []


@pytest.mark.req("S0-50", "S0-51", "S0-52", "S0-53", "S0-54", "S1-04", "S1-28", "S1-29", "S1-30")
async def test_operations_are_told_as_events(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.http.post("/admin/models/load", json=FULL)
        await house.http.post("/admin/models/unload", json={"modelKey": "alpha"})
        kinds = (ModelLoadStart, ModelLoadComplete, ModelActivate, ModelUnloadStart, ModelUnloadComplete)
        assert [type(each) for each in house.events if isinstance(each, kinds)] == list(kinds)


@pytest.mark.req("S1-32", "S0-31")
async def test_switching_between_loaded_models_needs_no_load(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        for key in ("alpha", "beta"):
            await house.http.post("/admin/models/load", json={"modelKey": key})
        loads = len(house.named(ModelLoadStart))
        for key in ("alpha", "beta", "alpha"):
            await house.http.post("/admin/models/activate", json={"modelKey": key})
            assert (await house.chat()).json()["model"] == key
        assert len(house.named(ModelLoadStart)) == loads


async def test_estimate_loads_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        body = (await house.http.post("/admin/models/estimate", json={"modelKey": "alpha"})).json()
        assert (body["neededBytes"], body["learnt"], body["parts"]) == (0, False, None)
        assert (body["fits"], body["verdict"], body["evictableBytes"]) == (True, "fits", 0)
        assert body["availableBytes"] > 0
        assert house.named(ModelLoadStart) == []


async def test_refresh_reads_models_yaml_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        path = tmp_path / "models.yaml"
        path.write_text(path.read_text() + "  - {id: delta, provider: mock, enabled: true}\n")
        reply = await house.http.post("/admin/models/refresh", json={})
        assert reply.status_code == 200
        keys = [each["path"] for each in (await house.http.get("/admin/models")).json()["downloaded"]]
        assert "delta" in keys


@pytest.mark.req("F-172", "P23")
async def test_a_broken_models_yaml_changes_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        (tmp_path / "models.yaml").write_text("models: [{id: x, provider: mock, nonsense: 1}]\n")
        reply = await house.http.post("/admin/models/refresh", json={})
        assert reply.status_code == 400
        assert "nonsense" in reply.json()["error"]
        assert (await house.chat(model="beta")).status_code == 200


@pytest.mark.req("C24")
async def test_a_second_instance_does_not_take_the_name_of_another_model(tmp_path: Path) -> None:
    models = "models:\n- {id: m, provider: mock}\n- {id: 'm:2', provider: mock}\n"
    async with serving(tmp_path, models) as house:
        for context in (512, 1024):
            asked = {"modelKey": "m", "loadConfig": {"contextLength": context}}
            assert (await house.http.post("/admin/models/load", json=asked)).status_code == 200
        chat = {"model": "m:2", "messages": [{"role": "user", "content": "hi"}]}
        assert (await house.http.post("/v1/chat/completions", json=chat)).json()["model"] == "m:2"
        assert dict(house.services.pool.ids()) == {"m": "m", "m:3": "m", "m:2": "m:2"}
