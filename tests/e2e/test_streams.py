"""Streams of the real engine beside each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.conftest import SMALL
from tests.house_process import HouseProcess

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
