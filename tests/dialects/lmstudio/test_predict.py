"""Predictions over the WebSocket against a whole server with scripted models."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lanhaven.engines.scripted import Act, Fault
from lanhaven.events import Failure, InferenceComplete, InferenceStart
from tests.dialects.lmstudio.frames import MODELS, Frames, frames
from tests.dialects.lmstudio.test_prediction import asked, call, layer, on, result, said
from tests.media.pictures import picture
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

SLOW = MODELS.replace("aliases: [first]", "aliases: [first], config: {answer: count, tokens: 500, interval_ms: 5}")
PNG = picture(size=(1, 1))


@asynccontextmanager
async def loaded(
    home: Path, models: str = MODELS, name: str = "alpha", **settings: Any
) -> AsyncIterator[tuple[House, Frames]]:
    """A server with one loaded model, and a connection to it."""
    async with serving(home, models, **settings) as house, frames(house.url) as client:
        await house.services.gateway.load(name)
        yield house, client


def about(name: str, *layers: dict[str, Any], **more: Any) -> dict[str, Any]:
    specifier = {"type": "query", "query": {"identifier": name}}
    return {"modelSpecifier": specifier, **asked(*layers, messages=more.pop("messages", None)), **more}


def words(packets: list[dict[str, Any]]) -> str:
    return "".join(each["fragment"]["content"] for each in packets if each["type"] == "fragment")


def failure(packets: list[dict[str, Any]]) -> dict[str, Any]:
    error: dict[str, Any] = packets[-1]["error"]
    return error


@pytest.mark.parametrize("endpoint", ["predict", "completeRawText"])
async def test_an_answer_comes_in_fragments_and_ends_with_all_that_is_known(tmp_path: Path, endpoint: str) -> None:
    async with loaded(tmp_path) as (house, client):
        limit = layer({"maxPredictedTokens": on(3)})
        request = about("alpha", limit, messages=[said("one two three four")])
        packets = await client.channel(endpoint, {**request, "rawPrompt": "one two three four"})
        assert words(packets) == "one two three"
        last = packets[-1]
        assert last["type"] == "success"
        assert last["stats"]["stopReason"] == "maxPredictedTokensReached"
        assert (last["stats"]["promptTokensCount"], last["stats"]["predictedTokensCount"]) == (4, 3)
        assert last["stats"]["totalTokensCount"] == 7
        assert last["modelInfo"]["identifier"] == "alpha"
        assert {"key": "llm.load.contextLength", "value": 8192} in last["loadModelConfig"]["fields"]
        assert {"key": "llm.prediction.maxPredictedTokens", "value": on(3)} in last["predictionConfig"]["fields"]
        (started,), (ended,) = house.named(InferenceStart), house.named(InferenceComplete)
        assert (started.dialect, started.method, started.path) == ("lmstudio", "WS", "/llm")
        assert ended.request_id == started.request_id


async def test_the_instance_that_is_meant_answers(tmp_path: Path) -> None:
    async with loaded(tmp_path) as (house, client):
        await house.services.gateway.load("alpha", instance_id="second")
        await client.channel("predict", about("second"))
        assert [each.instance_id for each in house.named(InferenceComplete)] == ["second"]


async def test_the_instances_defaults_hold_where_nothing_is_said_and_are_told_back(tmp_path: Path) -> None:
    models = MODELS.replace("aliases: [first]", "aliases: [first], defaults: {maxTokens: 2, temperature: 0.5}")
    async with loaded(tmp_path, models) as (house, client):
        request = about("alpha", layer({"temperature": 0.1}), messages=[said("one two three")])
        packets = await client.channel("predict", request)
        assert words(packets) == "one two"
        assert (house.sent["temperature"], house.sent["max_tokens"]) == (0.1, 2)
        fields = {each["key"].rpartition(".")[2]: each["value"] for each in packets[-1]["predictionConfig"]["fields"]}
        assert fields == {"temperature": 0.1, "maxPredictedTokens": on(2)}
        unlimited = about("alpha", layer({"maxPredictedTokens": {"checked": False}}), messages=[said("one two three")])
        assert words(await client.channel("predict", unlimited)) == "one two three"


async def test_reasoning(tmp_path: Path) -> None:
    async with loaded(tmp_path) as (house, client):
        house.mock.server("alpha").script(Fault(reasoning="let me see", text="5"))
        packets = await client.channel("predict", about("alpha"))
        kinds = [each["fragment"]["reasoningType"] for each in packets if each["type"] == "fragment"]
        assert kinds == ["reasoningStartTag", *["reasoning"] * 3, "reasoningEndTag", "none"]
        assert words(packets) == "<think>let me see</think>5"


async def test_a_tool_call_and_the_answer_to_its_result(tmp_path: Path) -> None:
    number = {"type": "integer"}
    function = {"name": "add", "parameters": {"type": "object", "properties": {"a": number, "b": number}}}
    tools = layer({"tools": {"type": "toolArray", "tools": [{"type": "function", "function": function}]}})
    async with loaded(tmp_path) as (house, client):
        packets = await client.channel("predict", about("alpha", tools, messages=[said("please add")]))
        end = next(each for each in packets if each["type"] == "toolCallGenerationEnd")
        request = end["toolCallRequest"]
        assert (request["name"], request["arguments"]) == ("add", {"a": 1, "b": 1})
        assert packets[-1]["stats"]["stopReason"] == "toolCalls"
        history = [
            said("please add"),
            {"role": "assistant", "content": [call(id=request["id"], arguments=request["arguments"])]},
            {"role": "tool", "content": [result("2", toolCallId=request["id"])]},
        ]
        again = await client.channel("predict", about("alpha", tools, messages=history))
        assert again[-1]["stats"]["stopReason"] == "eosFound"
        assert house.sent["messages"][-1] == {"role": "tool", "tool_call_id": request["id"], "content": "2"}


async def test_structured_answers(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    async with loaded(tmp_path) as (_, client):
        wanted = layer({"structured": {"type": "json", "jsonSchema": schema}})
        assert words(await client.channel("predict", about("alpha", wanted))) == '{"name": "text"}'


async def test_a_grammar_is_refused_where_the_engine_takes_none(tmp_path: Path) -> None:
    async with loaded(tmp_path) as (house, client):
        wanted = layer({"structured": {"type": "gbnf", "gbnfGrammar": "root ::= [0-9]"}})
        error = failure(await client.channel("predict", about("alpha", wanted)))
        assert "grammar" in error["title"]
        assert len(house.named(Failure)) == 1


# ---- ends


async def test_a_cancel_ends_the_upstream_and_is_a_success(tmp_path: Path) -> None:
    async with loaded(tmp_path, SLOW) as (house, client):
        number = await client.open("predict", about("alpha"))
        while (await client.packet())["type"] != "fragment":
            pass
        await client.send({"type": "channelSend", "channelId": number, "message": {"type": "cancel"}})
        packets = await client.rest()
        assert packets[-1]["type"] == "success"
        assert packets[-1]["stats"]["stopReason"] == "userStopped"
        assert 1 <= packets[-1]["stats"]["predictedTokensCount"] < 500
        assert packets[-1]["modelInfo"]["identifier"] == "alpha"
        server = house.mock.server("alpha")
        await server.until(lambda: server.disconnects == 1)
        assert [each.cancelled for each in house.named(Failure)] == [True]
        assert house.named(InferenceComplete) == []


async def test_a_cancel_while_it_waits_for_its_turn(tmp_path: Path) -> None:
    models = SLOW.replace("answer: count", "slots: 1, answer: count")
    async with loaded(tmp_path, models) as (house, client), frames(house.url) as other:
        await other.open("predict", about("alpha"))
        while (await other.packet())["type"] != "fragment":
            pass
        number = await client.open("predict", about("alpha"))
        await house.until(lambda: any(each.waiting for each in house.services.pool.instances()))
        await client.send({"type": "channelSend", "channelId": number, "message": {"type": "cancel"}})
        (last,) = await client.rest()
        assert (last["type"], last["stats"]["stopReason"]) == ("success", "userStopped")
        assert last["stats"]["predictedTokensCount"] == 0


@pytest.mark.req("S1-41")
async def test_the_end_of_the_connection_frees_the_instance(tmp_path: Path) -> None:
    async with serving(tmp_path, SLOW) as house:
        await house.services.gateway.load("alpha")
        async with frames(house.url) as client:
            await client.open("predict", about("alpha"))
            await client.packet()
        server = house.mock.server("alpha")
        await server.until(lambda: server.disconnects == 1)
        await house.until(lambda: house.services.gateway.inflight == 0)
        assert [each.cancelled for each in house.named(Failure)] == [True]


async def test_an_instance_that_is_lost_is_an_error_and_not_replaced(tmp_path: Path) -> None:
    async with loaded(tmp_path, SLOW) as (house, client):
        await client.open("predict", about("alpha"))
        await client.packet()
        house.mock.crash("alpha")
        assert failure(await client.rest())["title"]
        assert house.mock.loads["alpha"] == 1


async def test_an_instance_that_is_unloaded_meanwhile_has_its_own_error(tmp_path: Path) -> None:
    async with loaded(tmp_path, SLOW) as (house, client):
        await client.open("predict", about("alpha"))
        await client.packet()
        await house.services.gateway.unload("alpha", force=True)
        error = failure(await client.rest())
        assert error["displayData"] == {"code": "generic.specificModelUnloaded"}
        assert house.mock.loads["alpha"] == 1


async def test_what_the_engine_refuses_or_breaks_is_an_error(tmp_path: Path) -> None:
    async with loaded(tmp_path) as (house, client):
        server = house.mock.server("alpha")
        server.script(Fault(status=400, error="too warm"), Fault(do=Act.FIN, tokens=5, at=2))
        assert "too warm" in failure(await client.channel("predict", about("alpha")))["title"]
        assert failure(await client.channel("predict", about("alpha")))["title"]
        assert words(await client.channel("predict", about("alpha"))) == "Hello"


async def test_a_prompt_that_does_not_fit(tmp_path: Path) -> None:
    models = MODELS.replace("aliases: [first]", "aliases: [first], config: {context_length: 4}")
    async with loaded(tmp_path, models) as (_, client):
        request = about("alpha", layer({"contextOverflowPolicy": "rollingWindow"}), messages=[said("a b c d e f")])
        assert "context" in failure(await client.channel("predict", request))["title"]


# ---- what is refused


async def test_nothing_is_loaded_for_a_prediction(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS) as house, frames(house.url) as client:
        for specifier in ({"type": "query", "query": {"identifier": "alpha"}}, {"type": "query", "query": {}}):
            request = {**about("x"), "modelSpecifier": specifier}
            error = failure(await client.channel("predict", request))
            assert error["displayData"]["code"] == "generic.noModelMatchingQuery"
        gone = {**about("x"), "modelSpecifier": {"type": "instanceReference", "instanceReference": "none"}}
        assert failure(await client.channel("predict", gone))["displayData"]["code"] == "generic.specificModelUnloaded"
        assert house.mock.loads == {}


async def test_an_unknown_preset(tmp_path: Path) -> None:
    async with loaded(tmp_path) as (_, client):
        for endpoint in ("predict", "completeRawText"):
            request = {**about("alpha"), "rawPrompt": "x", "fuzzyPresetIdentifier": "mine"}
            error = failure(await client.channel(endpoint, request))
            assert error["displayData"]["code"] == "generic.presetNotFound"


async def test_a_wrong_setting_is_an_error_before_anything_is_asked(tmp_path: Path) -> None:
    async with loaded(tmp_path) as (house, client):
        error = failure(await client.channel("predict", about("alpha", layer({"temperature": "hot"}))))
        assert "llm.prediction.temperature" in error["title"]
        assert house.named(InferenceStart) == []


def looking(identifier: str) -> list[dict[str, Any]]:
    image = {"type": "file", "name": "a.png", "identifier": identifier, "sizeBytes": 16, "fileType": "image"}
    return [{"role": "user", "content": [{"type": "text", "text": "What?"}, image]}]


async def test_images_reach_models_that_see(tmp_path: Path) -> None:
    async with loaded(tmp_path, name="Maker/Seeing-1B") as (house, client), frames(house.url, "files") as files:
        sent = {"name": "a.png", "contentBase64": b64encode(PNG).decode()}
        upload = await files.result("uploadFileBase64", sent)
        assert upload["fileType"] == "image"
        await client.channel("predict", about("Maker/Seeing-1B", messages=looking(upload["identifier"])))
        url = f"data:image/png;base64,{b64encode(PNG).decode()}"
        assert house.sent["messages"][0]["content"][1] == {"type": "image_url", "image_url": {"url": url}}
        absent = failure(await client.channel("predict", about("Maker/Seeing-1B", messages=looking("file-nothing"))))
        assert "file-nothing" in absent["title"]


async def test_images_of_another_client_are_not_there(tmp_path: Path) -> None:
    async with (
        loaded(tmp_path, name="Maker/Seeing-1B") as (house, client),
        frames(house.url, "files", identifier="somebody else") as files,
    ):
        sent = {"name": "a.png", "contentBase64": b64encode(PNG).decode()}
        upload = await files.result("uploadFileBase64", sent)
        error = failure(
            await client.channel("predict", about("Maker/Seeing-1B", messages=looking(upload["identifier"])))
        )
        assert "no uploaded file" in error["title"]


async def test_a_model_without_eyes_refuses_files(tmp_path: Path) -> None:
    async with loaded(tmp_path) as (_, client):
        assert "cannot see" in failure(await client.channel("predict", about("alpha", messages=looking("x"))))["title"]


# ---- silence


async def test_a_silent_engine_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lanhaven.dialects.lmstudio.ws.attention.HEARTBEAT", 0.01)
    monkeypatch.setattr("lanhaven.dialects.lmstudio.ws.predict.HEARTBEAT", 0.0)
    async with loaded(tmp_path) as (house, client):
        house.mock.server("alpha").script(Fault(delay=0.2))
        packets = await client.channel("predict", about("alpha"))
        assert packets[0]["type"] == "promptProcessingProgress"
        assert packets[0]["progress"] == 0.0
        assert words(packets) == "Hello"


async def test_predictions_run_beside_each_other_on_one_connection(tmp_path: Path) -> None:
    async with loaded(tmp_path) as (_, client):
        numbers = [await client.open("predict", about("alpha", messages=[said(f"w{each}")])) for each in range(4)]
        told: dict[int, str] = dict.fromkeys(numbers, "")
        closed = 0
        while closed < len(numbers):
            frame = await client.next()
            closed += frame["type"] == "channelClose"
            if frame["type"] == "channelSend" and frame["message"]["type"] == "fragment":
                told[frame["channelId"]] += frame["message"]["fragment"]["content"]
        assert sorted(told.values()) == ["w0", "w1", "w2", "w3"]
