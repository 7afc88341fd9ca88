"""A context of 256 tokens on the real engine: what does not fit is told with numbers that are true, what is dropped is
counted by the engine, and the command of an error mends it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import anthropic as anthropic_sdk
import httpx2
import openai as sdk
import pytest
from anthropic import Anthropic
from ollama import Client, ResponseError
from openai import OpenAI

from tests.conformance.conftest import House
from tests.house_process import environment

LONG = "sea " * 300
DROP = {"X-LanHaven-Context-Overflow": "drop-oldest"}


@pytest.fixture
def anthropic(house: House) -> Iterator[Anthropic]:
    with Anthropic(base_url=house.url, api_key=house.key, max_retries=0, timeout=120) as client:
        yield client


@pytest.fixture
def ollama(house: House) -> Iterator[Client]:
    headers = {"Authorization": f"Bearer {house.key}"}
    with Client(host=house.url, headers=headers, timeout=120, trust_env=False) as client:
        yield client


def talk(turns: int = 6, words: int = 30) -> list[Any]:
    past = [
        {"role": role, "content": f"{number} " + "sea " * words}
        for number in range(turns)
        for role in ("user", "assistant")
    ]
    return [{"role": "system", "content": "You are kind."}, *past, {"role": "user", "content": "Say hello."}]


@pytest.mark.req("F-129")
class TestTheError:
    def test_openai(self, openai: OpenAI) -> None:
        for stream in (False, True):
            with pytest.raises(sdk.BadRequestError) as caught:
                openai.chat.completions.create(
                    model="narrow", messages=[{"role": "user", "content": LONG}], stream=stream
                )
            error = caught.value
            assert error.code == "context_length_exceeded"
            assert isinstance(error.body, dict)
            assert error.body["n_ctx"] == 256
            assert error.body["n_prompt_tokens"] > 300
            assert error.response.headers["x-should-retry"] == "false"

    def test_responses(self, openai: OpenAI) -> None:
        with pytest.raises(sdk.BadRequestError) as caught:
            openai.responses.create(model="narrow", input=LONG)
        assert caught.value.code == "context_length_exceeded"

    def test_anthropic(self, anthropic: Anthropic) -> None:
        with pytest.raises(anthropic_sdk.BadRequestError, match=r"prompt is too long: 3\d\d tokens > 256 maximum"):
            anthropic.messages.create(model="narrow", max_tokens=5, messages=[{"role": "user", "content": LONG}])

    def test_ollama(self, ollama: Client) -> None:
        with pytest.raises(ResponseError, match=r"the input length exceeds the context length: 3\d\d tokens, of 256"):
            ollama.chat(model="narrow", messages=[{"role": "user", "content": LONG}])

    def test_a_model_that_could_not_hold_it_at_all(self, openai: OpenAI) -> None:
        with pytest.raises(sdk.BadRequestError, match="narrow itself takes 8192 tokens at most") as caught:
            openai.completions.create(model="narrow", prompt="sea " * 9000)
        assert "lanhaven load" not in caught.value.message


STORY = "Write a very long story about the sea, with many words. " + "sea " * 150


def test_each_api_says_that_the_context_is_full(anthropic: Anthropic, openai: OpenAI, ollama: Client) -> None:
    question: list[Any] = [{"role": "user", "content": STORY}]
    message = anthropic.messages.create(
        model="narrow", max_tokens=400, messages=question, extra_body={"temperature": 0}
    )
    assert message.stop_reason == "model_context_window_exceeded"
    assert message.usage.output_tokens < 100
    answer = ollama.chat(model="narrow", messages=question, options={"temperature": 0})
    assert answer.done_reason == "length"
    assert (answer.prompt_eval_count or 0) + (answer.eval_count or 0) == 256
    response = openai.responses.create(model="narrow", input=STORY, temperature=0)
    assert response.status == "incomplete"


def test_an_answer_that_fills_the_context_ends_there(http: httpx2.Client) -> None:
    body = {"prompt": "sea " * 230, "max_tokens": 400, "ignore_eos": True, "temperature": 0}
    for path in ("/v1/completions", "/api/v0/completions"):
        reply = http.post(path, json={"model": "narrow", **body}).json()
        assert reply["choices"][0]["finish_reason"] == "length"
        assert reply["usage"]["total_tokens"] == 256
    assert reply["stats"]["stop_reason"] == "contextLengthReached"
    streamed = http.post("/v1/completions", json={"model": "narrow", **body, "stream": True}).text
    assert '"finish_reason":"length"' in streamed


class TestDroppingTheOldest:
    def test_the_engine_counts_what_is_left_out(self, http: httpx2.Client) -> None:
        body = {"model": "narrow", "messages": talk(), "max_tokens": 8}
        refused = http.post("/v1/chat/completions", json=body).json()["error"]
        reply = http.post("/v1/chat/completions", json=body, headers=DROP)
        assert reply.status_code == 200, reply.text
        usage, gone = reply.json()["usage"], int(reply.headers["x-lanhaven-dropped-tokens"])
        assert refused["n_prompt_tokens"] - gone == usage["prompt_tokens"]
        assert 150 < usage["prompt_tokens"] <= 248, "no more goes than has to"
        assert int(reply.headers["x-lanhaven-dropped-messages"]) % 2 == 0

    def test_by_the_official_libraries(self, openai: OpenAI, anthropic: Anthropic, ollama: Client) -> None:
        raw = openai.chat.completions.with_raw_response.create(
            model="narrow", messages=talk(), max_tokens=16, extra_headers=DROP
        )
        gone = raw.headers["x-lanhaven-dropped-messages"]
        assert raw.parse().choices[0].message.content
        answer = openai.responses.with_raw_response.create(
            model="narrow", input=talk(), max_output_tokens=16, truncation="auto"
        )
        assert answer.headers["x-lanhaven-dropped-messages"] == gone
        assert answer.parse().truncation == "auto"
        system, *messages = talk()
        message = anthropic.messages.with_raw_response.create(
            model="narrow", max_tokens=16, system=system["content"], messages=messages, extra_headers=DROP
        )
        assert message.headers["x-lanhaven-dropped-messages"] == gone
        assert ollama.chat(model="narrow", messages=talk(), options={"num_predict": 16}).prompt_eval_count


@pytest.mark.req("F-129")
def test_the_command_of_the_error_mends_it(house: House, http: httpx2.Client, openai: OpenAI) -> None:
    question: list[Any] = [{"role": "user", "content": "sea " * 280}]
    with pytest.raises(sdk.BadRequestError) as caught:
        openai.chat.completions.create(model="narrow", messages=question, max_tokens=2)
    assert isinstance(caught.value.body, dict)
    commands = str(caught.value.body["message"]).partition("Try: ")[2]
    try:
        for command in commands.split(" && "):
            words = [sys.executable, "-m", *shlex.split(command)]
            settings = environment(house.home, LANHAVEN_API_KEY=house.key)
            done = subprocess.run(words, env=settings, cwd=house.home, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
        reply = openai.chat.completions.create(model="narrow", messages=question, max_tokens=2)
        assert reply.usage is not None
        assert reply.usage.prompt_tokens > 280
    finally:
        http.post("/admin/models/unload", json={"modelKey": "narrow"})
