"""A model that sees, on the real engine: SmolLM2 with eyes for three colours, asked by the clients that people have.

What it answers is held to the three words, so that 135 million parameters can be right; which word is what it sees.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import lmstudio
import ollama
import pytest
from openai import BadRequestError, OpenAI

from tests.house_process import HouseProcess, running
from tests.media.pictures import BLUE, GREEN, RED, asking, base64, data_uri, part, picture
from tests.vision import COLORS, make_eyes

QUESTION = "Which colour is it?"
SCHEMA = {"type": "object", "properties": {"colour": {"enum": [*COLORS]}}, "required": ["colour"]}
FORMAT = {"name": "colour", "schema": SCHEMA}
GRAMMAR = 'root ::= "red" | "green" | "blue"'
SEEN = list(zip(COLORS, (RED, GREEN, BLUE), strict=True))
MODELS = """\
default_model: eyes
models:
  - id: eyes
    provider: llama_cpp
    load: {{contextLength: 2048, slots: 1}}
    defaults: {{temperature: 0}}
    config: {{model_path: {model}, mmproj_path: {projector}, vision: true}}
  - {{id: blind, provider: llama_cpp, config: {{model_path: {model}}}}}
"""
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Iterator[HouseProcess]:
    home = tmp_path_factory.mktemp("vision")
    projector = make_eyes(smollm2, home / "mmproj-colours.gguf")
    models = MODELS.format(model=json.dumps(str(smollm2)), projector=json.dumps(str(projector)))
    with running(home, models) as house:
        yield house


@pytest.fixture(scope="module")
def openai(house: HouseProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{house.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def colour(text: str | None) -> str:
    """Out of an answer in JSON."""
    return str(json.loads(text or "{}")["colour"])


@pytest.mark.req("S4-26")
@pytest.mark.parametrize(
    ("kind", "name"),
    [*(("WEBP", name) for name in COLORS), ("PNG", "red"), ("JPEG", "green"), ("GIF", "blue"), ("BMP", "green")],
)
def test_openai(openai: OpenAI, kind: str, name: str) -> None:
    color = dict(SEEN)[name]
    uri = data_uri(picture(kind, color, (200, 120)), f"image/{kind.lower()}")
    messages: Any = asking(uri, text=QUESTION)
    reply = openai.chat.completions.create(model="eyes", messages=messages, extra_body={"grammar": GRAMMAR})
    assert reply.choices[0].message.content == name


def test_openai_in_its_own_words(openai: OpenAI) -> None:
    content = [
        {"type": "text", "text": "My car is "},
        part(data_uri(picture())),
        {"type": "text", "text": ". What colour is my car?"},
    ]
    messages: Any = [{"role": "user", "content": content}]
    with openai.chat.completions.stream(model="eyes", messages=messages, max_tokens=12) as stream:
        assert "red" in (stream.get_final_completion().choices[0].message.content or "")


@pytest.mark.parametrize(("name", "color"), SEEN)
def test_responses(openai: OpenAI, name: str, color: tuple[int, int, int]) -> None:
    image = {"type": "input_image", "image_url": data_uri(picture("WEBP", color), "image/webp"), "detail": "auto"}
    said: Any = [{"role": "user", "content": [image, {"type": "input_text", "text": QUESTION}]}]
    form: Any = {"format": {"type": "json_schema", **FORMAT}}
    assert colour(openai.responses.create(model="eyes", input=said, text=form, store=False).output_text) == name


@pytest.mark.parametrize(("name", "color"), SEEN)
def test_anthropic(house: HouseProcess, name: str, color: tuple[int, int, int]) -> None:
    source = {"type": "base64", "media_type": "image/webp", "data": base64(picture("WEBP", color))}
    content: Any = [{"type": "image", "source": source}, {"type": "text", "text": QUESTION}]
    form: Any = {"format": {"type": "json_schema", "schema": SCHEMA}}
    with anthropic.Anthropic(base_url=house.url, api_key="none", max_retries=0) as client:
        reply = client.messages.create(
            model="eyes", max_tokens=20, messages=[{"role": "user", "content": content}], output_config=form
        )
        assert reply.content[0].type == "text"
        assert colour(reply.content[0].text) == name
        counted = client.messages.count_tokens(model="eyes", messages=[{"role": "user", "content": content}])
        assert counted.input_tokens == reply.usage.input_tokens + (reply.usage.cache_read_input_tokens or 0)


@pytest.mark.parametrize(("name", "color"), SEEN)
def test_ollama(house: HouseProcess, tmp_path: Path, name: str, color: tuple[int, int, int]) -> None:
    """Its client sends a file as bare Base64."""
    file = tmp_path / "a.webp"
    file.write_bytes(picture("WEBP", color))
    message = ollama.Message(role="user", content=QUESTION, images=[ollama.Image(value=file)])
    with ollama.Client(host=house.url) as client:
        assert colour(client.chat("eyes", [message], format=SCHEMA).message.content) == name
        if name == "blue":
            assert colour(client.generate("eyes", QUESTION, images=[file.read_bytes()], format=SCHEMA).response) == name
            assert "vision" in (client.show("eyes").capabilities or [])


@pytest.mark.parametrize(("name", "color"), SEEN)
def test_lmstudio(house: HouseProcess, name: str, color: tuple[int, int, int]) -> None:
    """A file, uploaded through its WebSocket."""
    with lmstudio.Client(house.url.removeprefix("http://")) as client:
        chat = lmstudio.Chat()
        chat.add_user_message(QUESTION, images=[client.prepare_image(picture("WEBP", color))])
        answer = client.llm.model("eyes").respond(chat, response_format=SCHEMA)
        assert answer.parsed == {"colour": name}


def test_lmstudios_own_rest(house: HouseProcess) -> None:
    content = [
        {"type": "image", "data_url": data_uri(picture("WEBP", GREEN), "image/webp")},
        {"type": "text", "content": "It is"},
    ]
    reply = house.post("/api/v1/chat", model="eyes", input=content, max_output_tokens=8)
    assert reply["output"][0]["content"]


@pytest.mark.req("S4-x11")
@pytest.mark.parametrize(("name", "color"), SEEN)
def test_multipart(house: HouseProcess, name: str, color: tuple[int, int, int]) -> None:
    fields = {"messages": json.dumps(asking("__RAW_IMAGE__", text=QUESTION)), "grammar": GRAMMAR, "resize_max": "64"}
    files = [("images", ("a.webp", picture("WEBP", color, (3000, 2000)), "image/webp"))]
    reply = house.http.post("/v1/chat/completions/multipart", data=fields, files=files)
    assert reply.json()["choices"][0]["message"]["content"] == name


@pytest.mark.req("S4-26")
def test_a_model_that_sees_nothing(openai: OpenAI) -> None:
    messages: Any = asking(data_uri(picture()), text=QUESTION)
    with pytest.raises(BadRequestError, match=r"Model blind cannot see images.*eyes"):
        openai.chat.completions.create(model="blind", messages=messages)


@pytest.mark.req("S4-23")
def test_eyes_take_memory(house: HouseProcess) -> None:
    said = {"loadConfig": {"contextLength": 2048, "slots": 1}}
    eyes, blind = (house.post("/admin/models/estimate", modelKey=name, **said)["parts"] for name in ("eyes", "blind"))
    assert eyes.pop("projector") > blind.pop("projector") == 0
    assert eyes == blind
