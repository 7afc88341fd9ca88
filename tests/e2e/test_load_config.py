"""Every setting of a load config reaches llama.cpp, and the reply says so."""

from __future__ import annotations

import re

import pytest

from tests.e2e.conftest import EMBEDDING, SMALL
from tests.house_process import HouseProcess

ASKED = {
    "contextLength": 768,
    "cpuThreads": 1,
    "ropeFrequencyBase": 20_000,
    "ropeFrequencyScale": 0.5,
    "gpu": {"ratio": 0.5, "layers": 12},
    "slots": 1,
    "kvType": "q8_0",
    "flashAttention": True,
}
SAID = (
    r"n_slots = 1, n_ctx_slot = 768",
    r"system_info: n_threads = 1 \(n_threads_batch = 1\)",
    r"llama_context: freq_base +=\s+20000\.0",
    r"llama_context: freq_scale +=\s+0\.5",
    r"llama_kv_cache: size =.*K \(q8_0\)",
    r"llama_context: flash_attn +=\s+enabled",
)


@pytest.mark.req("S0-13", "S0-14", "S0-15", "S0-16", "S0-17", "S0-18", "S0-19", "S1-02", "C14")
def test_the_engine_says_what_it_was_given(house: HouseProcess) -> None:
    reply = house.load(SMALL, loadConfig=ASKED)
    log = house.engine_log(SMALL)
    assert [pattern for pattern in SAID if not re.search(pattern, log)] == []
    applied = dict(reply["applied"])
    if "gpu.layers" in applied:
        assert applied.pop("gpu.layers") == 12
        assert re.search(r"offloaded 12/\d+ layers to GPU", log)
    assert applied == {
        "contextLength": 768,
        "slots": 1,
        "cpuThreads": 1,
        "kvType": "q8_0",
        "ropeFrequencyBase": 20_000,
        "ropeFrequencyScale": 0.5,
        "flashAttention": True,
    }
    ignored = {each["key"]: each["reason"] for each in reply["ignored"]}
    assert "wins" in ignored["gpu.ratio"]
    assert ("gpu.layers" in ignored) is ("gpu.layers" not in reply["applied"])


@pytest.mark.req("S0-18", "S0-19")
def test_other_rope_figures_make_other_words(house: HouseProcess) -> None:
    house.load(SMALL, instanceId="plain")
    house.load(SMALL, instanceId="bent", loadConfig={"ropeFrequencyScale": 0.25})
    plain, bent = (
        house.answer("Write a story", model=name, temperature=0, max_tokens=12) for name in ("plain", "bent")
    )
    assert plain != bent


@pytest.mark.req("S0-14", "P26")
def test_a_prompt_overflows_at_the_length_that_was_asked_for(house: HouseProcess) -> None:
    house.load(SMALL, loadConfig={"contextLength": 256, "slots": 1})
    assert house.chat("word " * 150, max_tokens=1).status_code == 200
    reply = house.chat("word " * 400, max_tokens=1)
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert (error["code"], error["n_ctx"]) == ("context_length_exceeded", 256)


@pytest.mark.req("S0-13")
def test_slots_answer_at_the_same_time(house: HouseProcess) -> None:
    house.load(SMALL, loadConfig={"slots": 3})
    streams = [house.stream("Write a story", max_tokens=200, ignore_eos=True) for _ in range(3)]
    with streams[0] as first, streams[1] as second, streams[2] as third:
        for stream in (first, second, third):
            stream.read(2)
        assert house.loaded()[SMALL]["busy"] == 3


@pytest.mark.req("C14", "S0-13")
def test_an_embedding_model_has_its_own_limits(house: HouseProcess) -> None:
    reply = house.load(EMBEDDING, loadConfig={"contextLength": 2048, "slots": 2})
    assert reply["applied"]["contextLength"] == 512
    assert {each["key"] for each in reply["ignored"]} == {"contextLength"}
    vectors = house.post("/v1/embeddings", model=EMBEDDING, input="The quick brown fox jumps over the lazy dog")
    assert len(vectors["data"][0]["embedding"]) == 384


@pytest.mark.req("F-074", "S0-x2")
@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"contextLength": 10**9}, ["loadConfig", "contextLength"]),
        ({"gpu": {"ratio": 7}}, ["loadConfig", "gpu", "ratio"]),
        ({"gpu": {"layers": -5}}, ["loadConfig", "gpu", "layers"]),
        ({"cpuThreads": 0}, ["loadConfig", "cpuThreads"]),
    ],
)
def test_nonsense_is_refused_and_nothing_is_started(
    house: HouseProcess, config: dict[str, object], path: list[str]
) -> None:
    reply = house.http.post("/admin/models/load", json={"modelKey": SMALL, "loadConfig": config})
    assert reply.status_code == 400
    assert reply.json()["error"] == "Validation failed"
    assert reply.json()["details"][0]["path"] == path
    assert house.loaded() == {}
