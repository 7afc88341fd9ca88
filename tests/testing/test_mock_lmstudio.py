"""MockLMStudio as other projects use it: started, scripted, asked what it saw."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from lanhaven.errors import GatewayError, InvalidRequest, NotFound
from lanhaven.testing import Act, Fault, MockLMStudio, MockModel

USER: list[Any] = [{"role": "user", "content": "one two three"}]


def client(studio: MockLMStudio) -> openai.OpenAI:
    return openai.OpenAI(base_url=studio.base_url, api_key="none", max_retries=0)


def ask(studio: MockLMStudio, text: str = "one two three", **fields: Any) -> str | None:
    with client(studio) as studio_client:
        done = studio_client.chat.completions.create(
            model=fields.pop("model", "mock-chat"), messages=[{"role": "user", "content": text}], **fields
        )
    content: str | None = done.choices[0].message.content
    return content


def names(studio: MockLMStudio) -> list[str]:
    with client(studio) as studio_client:
        return [each.id for each in studio_client.models.list()]


@pytest.mark.req("S2-25")
def test_it_serves_models_without_any_engine() -> None:
    with MockLMStudio() as studio:
        assert names(studio) == ["mock-chat", "mock-embedding"]
        assert ask(studio) == "one two three"
        with client(studio) as studio_client:
            vectors = studio_client.embeddings.create(model="mock-embedding", input=["a b", "c"])
        assert [len(each.embedding) for each in vectors.data] == [384, 384]
        assert studio.loaded == ("mock-chat", "mock-embedding")


def test_it_is_gone_after_the_block() -> None:
    with MockLMStudio() as studio:
        url = studio.url
        assert httpx2.get(url).is_success
        assert studio.port == int(studio.host.rpartition(":")[2])
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(url)
    with pytest.raises(RuntimeError, match="does not run"):
        studio.reply("x")
    studio.stop()
    assert not [each for each in threading.enumerate() if each.name == "mock-lmstudio"]


@pytest.mark.anyio
async def test_it_runs_beside_a_loop_of_ones_own() -> None:
    async with MockLMStudio("qwen3-4b") as studio, openai.AsyncOpenAI(base_url=studio.base_url, api_key="x") as http:
        studio.reply("Hello there.")
        stream = await http.chat.completions.create(model="qwen3-4b", messages=USER, stream=True)
        assert "".join([each.choices[0].delta.content or "" async for each in stream]) == "Hello there."


def test_two_of_them_know_nothing_of_each_other() -> None:
    with MockLMStudio("a") as one, MockLMStudio("b") as other:
        one.always("from one")
        assert (names(one), names(other)) == (["a"], ["b"])
        assert (ask(one, model="a"), ask(other, model="b")) == ("from one", "one two three")


def test_replies_come_in_order_and_where_they_fit() -> None:
    with MockLMStudio("a", "b") as studio:
        studio.reply("first")
        studio.reply("for b", model="b")
        studio.reply("second")
        studio.always("sunny", when="WEATHER")
        assert [ask(studio, model="a"), ask(studio, model="a"), ask(studio, model="b")] == ["first", "second", "for b"]
        assert [ask(studio, "the weather?", model="a") for _ in range(2)] == ["sunny", "sunny"]
        assert ask(studio, "else", model="a") == "else"
        studio.always("sunny", when="weather")
        studio.reset()
        assert ask(studio, "the weather?", model="a") == "the weather?"


def test_a_tool_can_be_called() -> None:
    tool: Any = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
    with MockLMStudio() as studio, client(studio) as studio_client:
        studio.reply(tool="add", arguments={"a": 1})
        done = studio_client.chat.completions.create(model="mock-chat", messages=USER, tools=[tool])
        calls: list[Any] = list(done.choices[0].message.tool_calls or ())
        (call,) = calls
        assert (call.function.name, json.loads(call.function.arguments)) == ("add", {"a": 1})


def test_what_was_asked_is_told() -> None:
    with MockLMStudio() as studio:
        ask(studio, "first", temperature=0.5)
        with client(studio) as studio_client:
            studio_client.embeddings.create(model="mock-embedding", input="x")
        chat, embedding = studio.requests
        assert (chat.model, chat.text, chat.body["temperature"], chat.left) == ("mock-chat", "first", 0.5, False)
        assert chat.messages == [{"role": "user", "content": "first"}]
        assert (embedding.path, embedding.body["input"], embedding.messages) == ("/v1/embeddings", "x", ())
        studio.reset()
        assert (studio.requests, studio.loaded) == ((), ())


def test_faults_are_what_a_client_sees_of_a_failing_engine() -> None:
    with MockLMStudio() as studio:
        ask(studio)
        studio.script(Fault(status=500), Fault(do=Act.FIN, at=1))
        with pytest.raises(openai.APIStatusError):
            ask(studio)
        with client(studio) as studio_client, pytest.raises(openai.APIError):
            for _ in studio_client.chat.completions.create(model="mock-chat", messages=USER, stream=True):
                pass
        assert ask(studio) == "one two three"


def test_loads_can_fail_and_instances_can_crash() -> None:
    with MockLMStudio("a", MockModel("b", fail_load="tensor missing")) as studio:
        studio.fail_loads("a", "no memory")
        with pytest.raises(openai.InternalServerError, match="no memory"):
            ask(studio, model="a")
        with pytest.raises(openai.InternalServerError, match="tensor missing"):
            ask(studio, model="b")
        studio.fail_loads("a", None)
        assert studio.load("a", "mine") == "mine"
        assert studio.loaded == ("mine",)
        assert studio.loads == {"a": 2, "b": 1}
        studio.crash("mine")
        with pytest.raises(KeyError):
            studio.crash("mine")


def test_a_key_can_be_asked_for() -> None:
    with MockLMStudio(api_key="k" * 32) as studio:
        assert httpx2.get(f"{studio.base_url}/models").status_code == 401
        assert httpx2.get(f"{studio.base_url}/models", headers={"Authorization": f"Bearer {'k' * 32}"}).is_success


def test_an_open_stream_does_not_hold_up_the_end() -> None:
    with MockLMStudio() as studio, client(studio) as studio_client:
        studio.reply(do=Act.STALL, at=1)
        stream = studio_client.chat.completions.create(model="mock-chat", messages=USER, stream=True)
        next(stream)
        studio.stop()
        with pytest.raises(openai.APIError, match="going down"):
            for _ in stream:
                pass


def test_a_page_of_any_origin_may_ask() -> None:
    with MockLMStudio() as studio:
        reply = httpx2.get(f"{studio.base_url}/models", headers={"Origin": "http://localhost:5173"})
        assert reply.headers["access-control-allow-origin"] == "*"


def test_what_keeps_it_from_starting_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(GatewayError, match="is in use"):
            MockLMStudio(port=taken.getsockname()[1]).start()
    with pytest.raises(GatewayError, match="nonsense"):
        MockLMStudio(MockModel("a", nonsense=1)).start()
    studio = MockLMStudio()
    with studio, pytest.raises(RuntimeError, match="already"):
        studio.start()


def test_the_settings_of_the_machine_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANHAVEN_API_KEY", "a" * 40)
    monkeypatch.setenv("LANHAVEN_MAX_LOADED_MODELS", "nonsense")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models.yaml").write_text("nonsense")
    with MockLMStudio() as studio:
        assert names(studio) == ["mock-chat", "mock-embedding"]


SCRIPT = """\
models:
  - qwen3-4b
  - {id: nomic, aliases: [embed], config: {kind: embedding}}
replies:
  - Hello there.
  - {text: sunny, when: weather, always: true}
"""


def test_a_file_says_what_is_served_and_answered(tmp_path: Path) -> None:
    file = tmp_path / "script.yaml"
    file.write_text(SCRIPT)
    with MockLMStudio(script=file) as studio:
        assert names(studio) == ["qwen3-4b", "nomic"]
        assert ask(studio, model="qwen3-4b") == "Hello there."
        assert ask(studio, "the weather?", model="qwen3-4b") == "sunny"
    with MockLMStudio("other", script=file) as studio:
        assert names(studio) == ["other"]
        assert ask(studio, model="other") == "Hello there."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense: 1", "nonsense"),
        ("replies: 3", "replies must be a list"),
        ("replies: [{nonsense: 1}]", "nonsense"),
        ("replies: [[]]", "a text, or an object"),
        ("models: [3]", "a model must be"),
        ("models: [", "is not YAML"),
    ],
)
def test_a_file_that_is_wrong_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "script.yaml"
    file.write_text(text)
    with pytest.raises(InvalidRequest, match=said):
        MockLMStudio(script=file)
    with pytest.raises(NotFound, match="There is no file"):
        MockLMStudio(script=tmp_path / "nothing.yaml")


@pytest.mark.anyio
async def test_many_at_once() -> None:
    async with MockLMStudio() as studio, openai.AsyncOpenAI(base_url=studio.base_url, api_key="x") as http:
        studio.script(*(Fault(text=f"reply {number}") for number in range(20)))
        asked = [http.chat.completions.create(model="mock-chat", messages=USER) for _ in range(20)]
        said = {each.choices[0].message.content for each in await asyncio.gather(*asked)}
        assert said == {f"reply {number}" for number in range(20)}
