"""Streams of the real engine beside each other."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.conftest import SMALL
from tests.house_process import HouseProcess, until

PROMPTS = (
    "What is the capital of France?",
    "Count from one to ten.",
    "Name three colours.",
    "Write a poem about the sea.",
)


@pytest.mark.req("F-049", "F-090", "P1")
def test_four_streams_say_what_each_says_alone(house: HouseProcess) -> None:
    house.load(SMALL, loadConfig={"slots": 4}, defaultInference={"temperature": 0, "maxTokens": 16})

    def ask(prompt: str) -> str:
        with house.stream(prompt, cache_prompt=False) as stream:
            assert stream.rest()[-1] == "[DONE]"
            return stream.text

    alone = [ask(prompt) for prompt in PROMPTS]
    assert len(set(alone)) == len(PROMPTS)
    with ThreadPoolExecutor(len(PROMPTS)) as threads:
        assert list(threads.map(ask, PROMPTS)) == alone


@pytest.mark.req("F-081", "S1-41", "P2")
def test_the_engine_stops_when_the_client_leaves(house: HouseProcess) -> None:
    house.load(SMALL, loadConfig={"slots": 1})
    with house.events() as events:
        with house.stream("Write a long story", max_tokens=900, ignore_eos=True) as stream:
            stream.read(3)
        left = events.until("error", cancelled=True)
        assert house.chat("Hello", max_tokens=1).status_code == 200, "the only slot is free again"
    assert left["status"] == 499
    told = re.compile(r"stop processing: n_tokens = (\d+)")
    until(lambda: len(told.findall(house.engine_log(SMALL))) == 2, "the engine to write of both")  # its log comes late
    first, second = told.findall(house.engine_log(SMALL))
    assert int(first) < 500, "it did not write its story to the end"
    assert int(second) < 100


@pytest.mark.req("F-064", "P4")
@pytest.mark.parametrize("force", [False, True])
def test_unload_under_a_stream(house: HouseProcess, force: bool) -> None:
    house.load(SMALL, instanceId="busy")
    tokens = 900 if force else 30
    with house.stream("Write a story", max_tokens=tokens, ignore_eos=True) as stream, ThreadPoolExecutor(1) as threads:
        stream.read(2)
        gone = threads.submit(house.unload, SMALL, instanceId="busy", force=force)
        stream.rest()
    assert gone.result()["status"] == "unloaded"
    assert house.loaded() == {}
    if force:
        assert stream.error["code"] == "model_unloaded"
    else:
        assert stream.frames[-1] == "[DONE]"
        assert house.chat("Hello").status_code == 400, "the active model is gone"
