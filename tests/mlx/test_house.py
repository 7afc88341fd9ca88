"""mlx models behind the whole server, asked by the clients that people have; two of them found by `import`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ollama import Client as OllamaClient
from openai import BadRequestError, InternalServerError, OpenAI
from openai.types.chat import ChatCompletionToolParam

from tests.house_process import HouseProcess, environment, running, until
from tests.media.pictures import BLUE, RED, asking, data_uri, picture
from tests.mlx.models import PLAIN_TEMPLATE

pytestmark = pytest.mark.timeout(240)

MODELS = """\
default_model: tiny
models:
  - {{id: tiny, provider: mlx, load: {{contextLength: 512}}, config: {{model_path: {tiny}}}}}
  - id: plain
    provider: mlx
    load: {{contextLength: 512, slots: 2}}
    config: {{model_path: {tiny}, chat_template: {template}, sampling: {{temperature: 0}}}}
  - {{id: vectors, provider: mlx, load: {{contextLength: 512}}, config: {{model_path: {tiny}, pooling: last}}}}
  - {{id: broken, provider: mlx, config: {{model_path: {broken}}}}}
  - {{id: eyeless, provider: mlx, config: {{model_path: {tiny}, vision: true}}}}
"""
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Rome", "Oslo"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture(scope="module")
def house(
    mlx_python: Path, tiny: Path, seeing: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HouseProcess]:
    home = tmp_path_factory.mktemp("house")
    (home / "config").mkdir()
    (home / "config" / "config.yaml").write_text(f"providers: {{mlx: {{python: {json.dumps(str(mlx_python))}}}}}\n")
    (home / "broken").mkdir()
    (home / "broken" / "config.json").write_text('{"model_type": "llama"}')
    folders = {"tiny": tiny, "broken": home / "broken"}
    places = {name: json.dumps(str(path)) for name, path in folders.items()}
    models = home / "models.yaml"
    models.write_text(MODELS.format(template=json.dumps(PLAIN_TEMPLATE), **places))
    for name, folder in (("found", tiny), ("eyes", seeing)):
        shutil.copytree(folder, home / "zoo" / name, copy_function=os.link)
    words = ["import", "--folder", str(home / "zoo"), "--merge", "--enable", "--output", str(models)]
    subprocess.run([sys.executable, "-m", "lanhaven", *words], env=environment(home), cwd=home, timeout=60, check=True)
    with running(home, models.read_text()) as found:
        yield found


@pytest.fixture
def openai(house: HouseProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{house.url}/v1", api_key="any", max_retries=0, timeout=60) as client:
        yield client


def ask(openai: OpenAI, words: str, **fields: Any) -> Any:
    settings = {"model": "tiny", "max_tokens": 12, "temperature": 0, **fields}
    return openai.chat.completions.create(messages=[{"role": "user", "content": words}], **settings)


def test_embeddings(openai: OpenAI) -> None:
    reply = openai.embeddings.create(model="vectors", input=["The sea.", "A storm."], dimensions=16)
    first, second = (each.embedding for each in reply.data)
    assert (len(first), len(second), reply.model) == (16, 16, "vectors")
    assert first != second
    with pytest.raises(BadRequestError, match="cannot do chat: it is made for embedding"):
        openai.chat.completions.create(model="vectors", messages=[{"role": "user", "content": "Hi"}])


@pytest.mark.req("S4-11", "S4-14")
def test_a_load_tells_its_progress_and_an_unload_ends_the_child(house: HouseProcess) -> None:
    with house.events() as events:
        pid = house.engine(lambda: house.load("tiny", instanceId="mine"))
        events.until("model_load_complete")
    told = events.find("model_load_progress", instanceId="mine")
    stages = [event["stage"] for event in told]
    assert [stage for stage in ("starting", "loading model", "loading weights") if stage in stages]
    assert told[-1]["progress"] == 100.0
    entry = house.loaded()["mine"]
    assert entry["loadConfig"]["contextLength"] == 512
    assert "loading weights 1.00" in house.engine_log("tiny", "mine")
    house.unload("tiny", instanceId="mine")
    until(lambda: pid not in house.engines(), "the child is gone")


def test_the_list_says_what_cannot_run_and_why(house: HouseProcess) -> None:
    available = {each["path"]: each for each in house.get("/admin/models")["downloaded"]}
    assert available["tiny"]["format"] == "mlx"
    assert "tools" in available["tiny"]["capabilities"]
    assert "tools" not in available["plain"]["capabilities"]
    assert "no model*.safetensors" in available["broken"]["unavailableReason"]
    assert "sees nothing" in available["eyeless"]["unavailableReason"]
    assert "vision" in available["eyes"]["capabilities"]
    assert "vision" not in available["found"]["capabilities"]


def test_chats_whole_and_streamed_and_four_at_once(openai: OpenAI) -> None:
    words = ["One", "Two", "Three", "Four"]
    alone = [ask(openai, each).choices[0].message.content for each in words]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda each: ask(openai, each).choices[0].message.content, words))
    assert together == alone
    with ask(openai, "One", stream=True, stream_options={"include_usage": True}) as stream:
        chunks = list(stream)
    said = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert said == alone[0]
    assert chunks[-1].usage.completion_tokens == 12


def test_stop_seed_and_schema(openai: OpenAI) -> None:
    whole = ask(openai, "Stop").choices[0].message.content
    stopped = ask(openai, "Stop", stop=[whole[5:9]])
    assert stopped.choices[0].message.content == whole[: whole.index(whole[5:9])]
    assert stopped.choices[0].finish_reason == "stop"
    seeded = [ask(openai, "Seed", temperature=1.5, seed=seed).choices[0].message.content for seed in (1, 1, 2)]
    assert seeded[0] == seeded[1] != seeded[2]
    schema = {
        "type": "object",
        "properties": {"on": {"type": "boolean"}},
        "required": ["on"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema, "strict": True}}
    assert json.loads(ask(openai, "?", response_format=form, max_tokens=40).choices[0].message.content)["on"] in (
        True,
        False,
    )


@pytest.mark.parametrize("model", ["tiny", "plain"])
def test_tools_by_the_models_own_form_and_told(openai: OpenAI, model: str) -> None:
    reply = ask(openai, "Go", model=model, tools=[WEATHER], tool_choice="required", max_tokens=90)
    assert reply.choices[0].finish_reason == "tool_calls", reply
    (call,) = reply.choices[0].message.tool_calls
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments)["city"] in {"Rome", "Oslo"}


def test_a_client_that_leaves_ends_the_computation(house: HouseProcess) -> None:
    with house.events() as events:
        with house.stream("Go", model="tiny", max_tokens=400, logit_bias={"2": -100}) as stream:
            stream.read(3)
        events.until("error")
    assert house.answer("Go", model="tiny", max_tokens=2)


@pytest.mark.req("S4-05", "S4-x4")
def test_what_import_found_answers(openai: OpenAI) -> None:
    said = ask(openai, "One", model="found").choices[0].message.content
    assert said == ask(openai, "One").choices[0].message.content


@pytest.mark.req("S4-11", "S4-26")
@pytest.mark.parametrize(("name", "color"), [("red", RED), ("blue", BLUE)])
def test_a_model_that_import_found_sees(openai: OpenAI, name: str, color: tuple[int, int, int]) -> None:
    messages: Any = asking(data_uri(picture("JPEG", color, (300, 200)), "image/jpeg"), text="Which colour?")
    settings: Any = {"model": "eyes", "messages": messages, "max_tokens": 2, "temperature": 0}
    assert openai.chat.completions.create(**settings).choices[0].message.content == f" {name} {name}"
    with openai.chat.completions.create(**settings, stream=True) as stream:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == f" {name} {name}"


def test_errors_in_openais_words(openai: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="context") as caught:
        ask(openai, "word " * 600)
    assert caught.value.code == "context_length_exceeded"
    picture = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]
    with pytest.raises(BadRequestError):
        openai.chat.completions.create(model="tiny", messages=[{"role": "user", "content": picture}])  # type: ignore[list-item,misc]
    with pytest.raises((BadRequestError, InternalServerError)):
        openai.embeddings.create(model="tiny", input="x")


def test_ollamas_client_hears_of_the_times(house: HouseProcess) -> None:
    options = {"num_predict": 5, "temperature": 0}
    with OllamaClient(house.url, trust_env=False) as client:
        reply = client.chat("tiny", [{"role": "user", "content": "Hi"}], options=options)
    assert reply.eval_count == 5
    assert (reply.eval_duration or 0) > 0
    assert (reply.prompt_eval_count or 0) > 5
