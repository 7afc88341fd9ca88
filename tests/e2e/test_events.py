"""The debug stream and the figures while a real model is loaded, used and unloaded."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import EMBEDDING, SMALL
from tests.house_process import HouseProcess

STAGES = ["starting", "loading", "loading tensors", "allocating", "warming up", "preparing slots"]


@pytest.mark.req("S0-48", "S0-49", "S0-50", "S0-51", "S0-52", "S0-53", "S0-54", "S0-x9")
def test_a_load_is_told_from_start_to_end(house: HouseProcess) -> None:
    with house.events() as events:
        house.load(
            SMALL, instanceId="primary", loadConfig={"contextLength": 512}, defaultInference={"temperature": 0.5}
        )
        done = events.until("model_load_complete")
        activated = events.until("model_activate")
        house.unload(SMALL)
        gone = events.until("model_unload_complete")
    names = events.names()
    assert names[0] == "connected"
    (start,) = events.find("model_load_start")
    assert (start["modelKey"], start["instanceId"], start["automatic"]) == (SMALL, "primary", False)
    assert start["loadConfig"]["contextLength"] == 512
    stages = [event["stage"] for event in events.find("model_load_progress", instanceId="primary")]
    assert [stage for stage in stages if stage in STAGES] == STAGES
    assert (done["instanceId"], done["activated"]) == ("primary", True)
    assert done["loadConfig"]["contextLength"] == 512
    assert done["totalTimeMs"] > 0
    assert activated["defaultInference"] == {"temperature": 0.5}
    assert (gone["instanceId"], gone["reason"]) == ("primary", "request")
    order = ["model_load_start", "model_load_progress", "model_load_complete", "model_activate"]
    order += ["model_unload_start", "model_unload_complete"]
    assert sorted(order, key=names.index) == order
    assert all("timestamp" in body for _, body in events.seen)


@pytest.mark.req("S0-55", "S0-56", "S0-57", "S0-x9")
def test_requests_are_told_with_what_they_used(house: HouseProcess) -> None:
    house.load(SMALL)
    with house.events() as events:
        usage = house.chat("Hello", max_tokens=5).json()["usage"]
        whole = events.until("inference_complete")
        with house.stream("Hello", max_tokens=5) as stream:
            stream.rest()
        streamed = events.until("inference_complete", streamed=True)
        assert house.chat("Hello", model="nobody").status_code == 404
        failed = events.until("error", operation="inference")
    for event in (whole, streamed):
        assert event["tokenUsage"]["promptTokens"] == usage["prompt_tokens"]
        assert event["tokenUsage"]["completionTokens"] == 5
        assert event["finishReason"] == "length"
        assert event["totalTimeMs"] >= event["firstByteMs"]
    assert failed["code"] == "model_not_found"
    starts = {event["requestId"] for event in events.find("inference_start", path="/v1/chat/completions")}
    ends = [event["requestId"] for name, event in events.seen if name in ("inference_complete", "error")]
    assert starts == set(ends)
    assert len(ends) == len(set(ends))


@pytest.mark.req("S0-57", "S0-30", "C8", "C29")
def test_a_failed_order_is_told(house: HouseProcess) -> None:
    house.load(SMALL, instanceId="mine")
    with house.events() as events:
        reply = house.http.post("/admin/models/load", json={"modelKey": "invalid-model"})
        unknown = events.until("error", modelKey="invalid-model")
        taken = house.http.post(
            "/admin/models/load", json={"modelKey": SMALL, "instanceId": "mine", "loadConfig": {"contextLength": 300}}
        )
        conflict = events.until("error", modelKey=SMALL)
    assert reply.status_code == 404
    assert reply.json()["error"] == "Model not found: invalid-model"
    assert "Model not found" in unknown["error"]
    assert taken.status_code == 409
    assert conflict["status"] == 409
    assert "mine" in conflict["error"]
    assert unknown["operation"] == conflict["operation"] == "model_load"


@pytest.mark.req("S0-61", "S0-63", "S0-x6", "S0-x7", "S0-59")
def test_metrics_count_tokens(house: HouseProcess) -> None:
    before = house.get("/debug/metrics")["performance"]
    house.load(SMALL, activate=True)
    reply = house.chat("Hello", max_tokens=6)
    usage, request_id = reply.json()["usage"], reply.headers["x-request-id"]
    house.post("/v1/embeddings", model=EMBEDDING, input="some words")
    after = house.get("/debug/metrics")
    performance, stats = after["performance"], after["performance"]["tokenStats"]
    assert performance["totalRequests"] == before["totalRequests"] + 2
    assert stats["totalCompletionTokens"] == before["tokenStats"]["totalCompletionTokens"] + 6
    assert stats["totalPromptTokens"] > before["tokenStats"]["totalPromptTokens"] + usage["prompt_tokens"]
    assert performance["avgTokensPerSec"] > 0
    (chat,) = [each for each in after["recentActivity"]["last10Requests"] if each["requestId"] == request_id]
    assert chat["tokenUsage"] == {
        "promptTokens": usage["prompt_tokens"],
        "completionTokens": 6,
        "totalTokens": usage["prompt_tokens"] + 6,
    }
    lines = [line for line in house.http.get("/metrics").text.splitlines() if line.startswith("lanhaven_tokens")]
    assert [line for line in lines if SMALL in line and "completion" in line and float(line.split()[-1]) >= 6]
    assert after["currentOperation"] is None
