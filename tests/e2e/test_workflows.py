"""The five workflows of the integration guide, request by request, on a real model."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import LARGE, SMALL
from tests.house_process import HouseProcess

CREATIVE = {"temperature": 1.2, "topP": 0.95}
FACTUAL = {"temperature": 0.1, "topP": 0.5}


def sample(house: HouseProcess, **fields: Any) -> str:
    """Some words that depend on the sampling, and on nothing else: always the same seed, nothing from a cache."""
    return house.answer("Write a story", seed=11, max_tokens=14, cache_prompt=False, **fields)


@pytest.mark.req("S0-67", "S0-60", "S0-39", "S0-43", "S0-91")
def test_simple_inference_with_the_active_model(house: HouseProcess) -> None:
    assert house.get("/debug/status")["activeModel"]["modelKey"] is None
    loaded = house.load(SMALL, activate=True)
    assert loaded["status"] == "loaded"
    assert house.get("/debug/status")["activeModel"]["modelKey"] == SMALL
    reply = house.chat("What is 2+2?", max_tokens=16).json()
    assert reply["model"] == SMALL
    assert reply["choices"][0]["message"]["content"].strip()
    assert reply["usage"]["completion_tokens"] > 0


@pytest.mark.req("S0-67", "C24")
def test_without_an_active_model_a_chat_says_what_to_do(house: HouseProcess) -> None:
    reply = house.chat("What is 2+2?")
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "no_active_model"


@pytest.mark.req("S0-68", "S0-44", "S0-45", "S0-05", "S0-07", "S0-59")
def test_a_specific_model_with_configuration(house: HouseProcess) -> None:
    models = {each["path"]: each for each in house.get("/admin/models")["downloaded"]}
    assert models[LARGE]["type"] == "llm"
    assert models[LARGE]["size"] > 90_000_000
    defaults = {"temperature": 0.3, "maxTokens": 2048}
    reply = house.load(
        LARGE,
        loadConfig={"contextLength": 16384, "gpu": {"ratio": 1.0, "layers": 40}},
        defaultInference=defaults,
        activate=True,
    )
    ignored = {each["key"]: each["reason"] for each in reply["ignored"]}
    assert "8192" in ignored["contextLength"], "the model is made for no more, and the reply says so"
    assert house.loaded()[LARGE]["contextLength"] == 8192
    active = house.get("/debug/status")["activeModel"]
    assert active == {"modelKey": LARGE, "instanceId": LARGE, "defaultInference": defaults}
    assert sample(house) == sample(house, temperature=0.3), "a silent request gets the instance's temperature"
    assert sample(house) != sample(house, temperature=1.8), "and a request that says one has its own"


@pytest.mark.req("S0-68", "S0-22", "S0-26", "S0-44", "S0-45")
def test_all_that_a_request_leaves_open_comes_from_the_defaults(house: HouseProcess) -> None:
    house.load(SMALL, defaultInference={"temperature": 0, "maxTokens": 7})
    short = house.chat("Count from one to twenty.").json()
    assert short["usage"]["completion_tokens"] == 7
    assert short["choices"][0]["finish_reason"] == "length"
    longer = house.chat("Count from one to twenty.", max_tokens=9).json()
    assert longer["usage"]["completion_tokens"] == 9
    text = longer["choices"][0]["message"]["content"]
    house.post(
        "/admin/models/activate", modelKey=SMALL, defaultInference={"temperature": 0, "stopStrings": [text[6:9]]}
    )
    stopped = house.chat("Count from one to twenty.", max_tokens=9).json()
    assert stopped["choices"][0]["message"]["content"] == text[: text.index(text[6:9])]


@pytest.mark.req("S0-69", "S0-12", "S0-31", "S0-35", "S0-36", "S0-37", "C15", "F-068")
def test_two_instances_for_two_tasks(house: HouseProcess) -> None:
    house.load(SMALL, instanceId="creative", defaultInference=CREATIVE)
    house.load(SMALL, instanceId="factual", defaultInference=FACTUAL)
    assert len(house.engines()) == 2
    wild = sample(house, model="factual", temperature=1.2, top_p=0.95)
    sober = sample(house, model="creative", temperature=0.1, top_p=0.5)
    assert wild != sober
    for instance, defaults, expected in (("creative", CREATIVE, wild), ("factual", FACTUAL, sober)):
        reply = house.post("/admin/models/activate", modelKey=SMALL, instanceId=instance)
        assert (reply["status"], reply["defaultInference"]) == ("activated", defaults)
        assert house.get("/debug/status")["activeModel"]["instanceId"] == instance
        assert sample(house) == expected, f"{instance} answers, with the defaults stored when it was loaded"


@pytest.mark.req("S0-69", "S0-21")
def test_temperature_reaches_the_engine(house: HouseProcess) -> None:
    house.load(SMALL, defaultInference={"temperature": 0, "maxTokens": 12})
    assert house.answer("Write a story", seed=1) == house.answer("Write a story", seed=2)
    house.post("/admin/models/activate", modelKey=SMALL, defaultInference={"temperature": 1.5, "maxTokens": 12})
    assert house.answer("Write a story", seed=1) != house.answer("Write a story", seed=2)


@pytest.mark.req("S0-70", "S0-42")
def test_streaming(house: HouseProcess) -> None:
    house.load(SMALL)
    with house.stream("Write a long story", max_tokens=40, temperature=0) as stream:
        frames = stream.rest()
    assert frames[-1] == "[DONE]"
    assert len(frames) > 20, "it came piece by piece"
    assert stream.text == house.answer("Write a long story", max_tokens=40, temperature=0)


@pytest.mark.req("S0-70", "S0-27")
def test_streaming_by_default(house: HouseProcess) -> None:
    house.load(SMALL, defaultInference={"stream": True, "maxTokens": 3})
    reply = house.chat("Write a long story")
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.text.rstrip().endswith("data: [DONE]")


@pytest.mark.req("S0-71", "S0-32", "S0-33", "S0-34", "S0-91")
def test_cleaning_up_after_work(house: HouseProcess) -> None:
    for instance in ("creative", "factual"):
        house.load(SMALL, instanceId=instance)
    for instance in ("creative", "factual"):
        reply = house.unload(SMALL, instanceId=instance)
        assert (reply["status"], reply["modelKey"], reply["instanceId"]) == ("unloaded", SMALL, instance)
    assert house.get("/admin/models")["loaded"] == []
    assert house.engines() == set()
    again = house.http.post("/admin/models/unload", json={"modelKey": SMALL, "instanceId": "factual"})
    assert again.status_code == 404
    assert again.json()["message"] == f"Model not found: {SMALL} (instance: factual)"
