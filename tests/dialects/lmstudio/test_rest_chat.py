"""POST /api/v1/chat: whole and streamed, the order of its events, faults, and what it remembers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lanhaven.engines.scripted import Act, Fault
from lanhaven.keys.store import FILE_NAME, KeyStore
from tests.dialects.lmstudio.chatting import MODELS, ask, messages, refused, stream
from tests.dialects.lmstudio.words import in_order, names, result_of
from tests.media.pictures import data_uri, picture
from tests.serving import serving

pytestmark = pytest.mark.anyio

PIXEL = data_uri(picture(size=(1, 1)))


async def test_a_whole_answer(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        first = await ask(house)
        assert (first.model_instance_id, first.text) == ("alpha", "one two three")
        assert [each.type for each in first.output] == ["message"]
        assert (first.stats.input_tokens, first.stats.total_output_tokens) == (3, 3)
        assert first.stats.tokens_per_second > 0
        assert first.stats.model_load_time_seconds is not None
        assert first.response_id is not None
        assert first.response_id.startswith("resp_")
        second = await ask(house)
        assert second.stats.model_load_time_seconds is None  # it was loaded


async def test_a_stream_of_a_loaded_model(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        await ask(house)
        found = await stream(house, "one two three")
        assert in_order(found)
        assert "model_load.start" not in names(found)
        assert found[0] == {"type": "chat.start", "model_instance_id": "alpha"}
        assert [each["content"] for each in found if each["type"] == "message.delta"] == ["one", " two", " three"]
        result = result_of(found)
        assert (result.text, result.stats.total_output_tokens) == ("one two three", 3)
        assert result.response_id is not None


async def test_reasoning_comes_before_the_message(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        await ask(house)
        house.mock.server("alpha").script(*[Fault(reasoning="let me think", text="It is 4.")] * 2)
        found = await stream(house)
        assert in_order(found)
        assert names(found).count("reasoning.delta") == 3
        whole = await ask(house)
        assert result_of(found).output == whole.output
        assert [(each.type, each.content) for each in whole.output] == [
            ("reasoning", "let me think"),
            ("message", "It is 4."),
        ]
        assert whole.stats.reasoning_output_tokens == 3


async def test_the_progress_of_the_prompt(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        found = await stream(house, "word " * 200)
        told = [each["progress"] for each in found if each["type"] == "prompt_processing.progress"]
        assert told
        assert told == sorted(set(told))
        assert told[-1] == 1.0
        assert house.seen[-1].body["return_progress"] is True


BROKEN = [
    pytest.param(Fault(do=Act.FIN, at=2, interval=0.02), id="F-031 FIN"),
    pytest.param(Fault(do=Act.RST, at=2, interval=0.02), id="F-032 RST"),
    pytest.param(Fault(do=Act.HALF, at=2, interval=0.02), id="F-033 half a frame"),
    pytest.param(Fault(do=Act.END, at=2, interval=0.02), id="F-035 neither finish nor done"),
    pytest.param(Fault(do=Act.ERROR, at=2, interval=0.02), id="F-043 error frame"),
    pytest.param(Fault(do=Act.FRAME, at=2, frame="data: {nonsense\n\n", interval=0.02), id="F-044 no JSON"),
    pytest.param(Fault(do=Act.FRAME, at=2, frame='data: {"choices":[{"delta":7}]}\n\n', interval=0.02), id="odd types"),
    pytest.param(Fault(do=Act.CRASH, at=2, interval=0.02), id="crash"),
]


@pytest.mark.req("F-031", "F-032", "F-033", "F-035", "F-043", "F-044")
@pytest.mark.parametrize("fault", BROKEN)
async def test_a_broken_stream_ends_with_an_error_and_what_there_is(tmp_path: Path, fault: Fault) -> None:
    async with serving(tmp_path, MODELS) as house:
        await ask(house)
        house.mock.server("alpha").script(fault)
        found = await stream(house)
        assert in_order(found)
        assert names(found)[-2:] == ["error", "chat.end"]
        assert found[-2]["error"]["type"] == "internal_error"
        result = result_of(found)
        assert result.text == "one two"
        assert result.response_id is None


@pytest.mark.parametrize("fault", BROKEN)
async def test_without_a_stream_a_broken_answer_is_an_error(tmp_path: Path, fault: Fault) -> None:
    async with serving(tmp_path, MODELS) as house:
        await ask(house)
        house.mock.server("alpha").script(fault)
        status, error = await refused(house, input="one two three")
        assert (status, error["type"]) == (502, "internal_error")


async def test_the_conversation_goes_on(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        first = await ask(house, "My name is Ada.", system_prompt="Be brief.")
        second = await ask(house, "What is it?", previous_response_id=first.response_id)
        assert messages(house) == [
            ("system", "Be brief."),
            ("user", "My name is Ada."),
            ("assistant", "My name is Ada."),  # the mock repeats
            ("user", "What is it?"),
        ]
        found = await stream(house, "And?", previous_response_id=second.response_id, system_prompt="Be long.")
        assert [text for _, text in messages(house)] == [
            "Be long.",
            *["My name is Ada."] * 2,
            *["What is it?"] * 2,
            "And?",
        ]
        # an answer can be gone on from twice
        await ask(house, "Other?", previous_response_id=first.response_id)
        assert [text for _, text in messages(house)] == ["Be brief.", *["My name is Ada."] * 2, "Other?"]
        assert result_of(found).response_id not in (None, first.response_id, second.response_id)


async def test_it_is_remembered_over_a_restart(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        first = await ask(house, "My name is Ada.")
    async with serving(tmp_path, MODELS) as house:
        await ask(house, "What is it?", previous_response_id=first.response_id)
        assert messages(house)[0] == ("user", "My name is Ada.")


async def test_reasoning_is_not_part_of_the_conversation(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        await ask(house)
        house.mock.server("alpha").script(Fault(reasoning="hm", text="Four."))
        first = await ask(house, "2+2?")
        await ask(house, "Sure?", previous_response_id=first.response_id)
        assert messages(house) == [("user", "2+2?"), ("assistant", "Four."), ("user", "Sure?")]


async def test_what_is_not_stored_cannot_be_gone_on_from(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        assert (await ask(house, store=False)).response_id is None
        assert "response_id" not in (await stream(house, store=False))[-1]["result"]
        status, error = await refused(house, previous_response_id="resp_unknown")
        assert status == 400
        assert (error["type"], error["code"], error["param"]) == (
            "invalid_request", "response_not_found", "previous_response_id",
        )  # fmt: skip


async def test_a_conversation_belongs_to_its_key(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    other = KeyStore(tmp_path / "config" / FILE_NAME).add("other")
    async with serving(tmp_path, MODELS, key="the-first-key-of-this-test") as house:
        first = await ask(house)
        body = {"model": "alpha", "input": "x", "previous_response_id": first.response_id}
        reply = await house.http.post("/api/v1/chat", json=body, headers={"X-API-Key": other})
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "response_not_found")
        assert (await house.http.post("/api/v1/chat", json=body)).status_code == 200


async def test_where_nothing_can_be_stored_the_answer_comes_without_an_id(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        await house.services.store.aclose()
        answer = await ask(house)
        assert (answer.text, answer.response_id) == ("one two three", None)


async def test_input_of_several_items(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        await ask(house, [{"type": "message", "content": "one"}, {"type": "text", "content": "two"}])
        assert messages(house) == [("user", "one\ntwo")]
        await ask(house, [{"type": "text", "content": "What?"}, {"type": "image", "data_url": PIXEL}], model="eyes")
        assert messages(house) == [
            ("user", [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": PIXEL}}])
        ]


async def test_names_of_lm_studios_world(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        for name in ("qwen/qwen3-4b", "QWEN/qwen3-4b", "qwen/qwen3"):
            assert (await ask(house, model=name)).model_instance_id == "qwen/qwen3-4b"


async def test_settings_reach_the_engine(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        said = {"temperature": 0.5, "top_p": 0.9, "top_k": 7, "min_p": 0.1, "repeat_penalty": 1.2}
        answer = await ask(house, **said, max_output_tokens=2, reasoning="low", presets="x")
        body = house.seen[-1].body
        assert said.items() <= body.items()
        assert (body["max_tokens"], body["reasoning_effort"]) == (2, "low")
        assert answer.text == "one two"
        assert answer.ignored == ["presets"]
        # thinking is switched by a field of llama.cpp's, which this upstream does not know
        assert (await ask(house, reasoning="off")).ignored == ["reasoning"]


@pytest.mark.parametrize(
    ("fields", "status", "kind", "param"),
    [
        ({"model": None}, 400, "invalid_request", "model"),
        ({"input": None}, 400, "invalid_request", "input"),
        ({"input": []}, 400, "invalid_request", "input"),
        ({"input": [{"type": "audio"}]}, 400, "invalid_request", "input[0]"),
        ({"input": [{"type": "image", "data_url": "http://10.0.0.1/x.png"}]}, 400, "invalid_request", "input[0].data_url"),
        ({"input": [{"type": "image", "data_url": PIXEL}]}, 400, "invalid_request", "input"),
        ({"model": "nobody"}, 404, "model_not_found", "model"),
        ({"temperature": "hot"}, 400, "invalid_request", "temperature"),
        ({"max_output_tokens": 0}, 400, "invalid_request", "max_output_tokens"),
        ({"reasoning": "hard"}, 400, "invalid_request", "reasoning"),
        ({"stream": "yes"}, 400, "invalid_request", "stream"),
        ({"integrations": ["mcp/playwright"]}, 501, "not_implemented", "integrations"),
        ({"tools": [{}]}, 501, "not_implemented", "tools"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("streamed", [False, True])
async def test_what_is_wrong_is_named(
    tmp_path: Path, fields: dict[str, Any], status: int, kind: str, param: str, streamed: bool
) -> None:
    async with serving(tmp_path, MODELS) as house:
        told, error = await refused(house, **{"stream": streamed, **fields})
        assert (told, error["type"], error["param"]) == (status, kind, param)


async def test_a_prompt_that_does_not_fit_is_an_error_of_the_request(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        await ask(house, context_length=10)
        status, error = await refused(house, input="word " * 50)
        assert (status, error["type"], error["code"]) == (400, "invalid_request", "context_length_exceeded")


@pytest.mark.req("F-081")
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_that_leaves_ends_it_and_nothing_is_stored(tmp_path: Path, streamed: bool) -> None:
    async with serving(tmp_path, MODELS) as house:
        await ask(house, store=False)
        server = house.mock.server("alpha")
        server.script(Fault(do=Act.STALL, at=2))
        async with httpx2.AsyncClient(base_url=house.url, trust_env=False) as leaver:
            body = {"model": "alpha", "input": "one two three", "stream": streamed}
            asking = asyncio.create_task(leaver.post("/api/v1/chat", json=body))
            await server.until(lambda: server.running == 1)
            asking.cancel()
            await asyncio.wait((asking,))
        await server.until(lambda: server.disconnects == 1)
        await house.until(lambda: house.services.gateway.inflight == 0)
        assert not (tmp_path / "data" / "store.sqlite3").exists()


async def test_a_long_answer_arrives_whole(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house:
        await ask(house)
        house.mock.server("alpha").script(Fault(answer="count", tokens=5_000, split=700))
        assert len(result_of(await stream(house)).text.split()) == 5_000
