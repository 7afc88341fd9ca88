"""What a client wants predicted, in LM Studio's words, and the OpenAI request that comes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lanhaven.dialects.lmstudio.ws.prediction import read_completion, read_prediction
from lanhaven.dialects.lmstudio.ws.settings import IDENTITY
from lanhaven.errors import InvalidRequest, UnsupportedFeature
from lanhaven.types.chat import Route

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}
FUNCTION = {"name": "add", "description": "Add", "parameters": {"type": "object", "properties": {}}}


def on(value: Any) -> dict[str, Any]:
    return {"checked": True, "value": value}


OFF = {"checked": False, "value": 0.3}


def layer(values: dict[str, Any], name: str = "apiOverride") -> dict[str, Any]:
    fields = [{"key": f"llm.prediction.{key}", "value": value} for key, value in values.items()]
    return {"layerName": name, "config": {"fields": fields}}


def said(text: str, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}]}


def asked(*layers: dict[str, Any], messages: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {
        "history": {"messages": messages or [said("Hello")]},
        "predictionConfigStack": {"layers": list(layers)},
    }


def body(values: dict[str, Any]) -> dict[str, Any]:
    """The fields that come of settings."""
    found = read_prediction(asked(layer(values)), str).body
    return {name: value for name, value in found.items() if name not in ("messages", "stream")}


def extras(values: dict[str, Any]) -> dict[str, Any]:
    return read_prediction(asked(layer(values)), str).settings.extras


# ---- settings


@pytest.mark.parametrize(
    ("key", "value", "field", "sent"),
    [
        ("temperature", 0.3, "temperature", 0.3),
        ("topKSampling", 20.0, "top_k", 20),
        ("topPSampling", on(0.9), "top_p", 0.9),
        ("topPSampling", OFF, "top_p", 1.0),
        ("minPSampling", OFF, "min_p", 0.0),
        ("repeatPenalty", OFF, "repeat_penalty", 1.0),
        ("repeatPenalty", on(1.2), "repeat_penalty", 1.2),
        ("maxPredictedTokens", on(5), "max_tokens", 5),
        ("maxPredictedTokens", OFF, "max_tokens", None),
        ("maxPredictedTokens", on(-1), "max_tokens", None),
        ("seed", on(42), "seed", 42),
        ("llama.presencePenalty", on(0.5), "presence_penalty", 0.5),
        ("llama.frequencyPenalty", OFF, "frequency_penalty", 0.0),
        ("stopStrings", ["a", "", "b"], "stop", ["a", "b"]),
        ("stopStrings", [], "stop", []),
        ("toolChoice", {"type": "generic", "mode": "required"}, "tool_choice", "required"),
        ("llama.logitBias", [[5, -1.5]], "logit_bias", {"5": -1.5}),
        ("structured", {"type": "json"}, "response_format", {"type": "json_object"}),
    ],
)
def test_a_setting_becomes_a_field(key: str, value: Any, field: str, sent: Any) -> None:
    assert body({key: value}) == {field: sent}


def test_settings_beyond_openai_go_to_those_who_know_them() -> None:
    assert extras({"llama.xtcProbability": on(0.1), "llama.locallyTypicalSampling": OFF}) == {
        "xtc_probability": 0.1,
        "typical_p": 1.0,
    }
    assert extras({"reasoning.enableThinking": False}) == {"chat_template_kwargs": {"enable_thinking": False}}
    mirostat = {"version": 2, "learningRate": 0.1, "targetEntropy": 5}
    assert extras({"llama.mirostatSampling": mirostat}) == {
        "mirostat": 2,
        "mirostat_eta": 0.1,
        "mirostat_tau": 5,
    }
    assert extras({"stopStrings": ["x"]}) == {"verbose": True}


def test_structured_answers() -> None:
    found = body({"structured": {"type": "json", "jsonSchema": SCHEMA}})
    assert found["response_format"]["json_schema"]["schema"] == SCHEMA
    grammar = read_prediction(asked(layer({"structured": {"type": "gbnf", "gbnfGrammar": "root ::= [0-9]"}})), str)
    assert grammar.settings.extras["grammar"] == "root ::= [0-9]"
    assert grammar.settings.needed == {"grammar"}
    assert body({"structured": {"type": "none"}}) == {}


def test_tools() -> None:
    tools = [{"type": "function", "function": FUNCTION}, {"type": "function", "function": {"name": "now"}}]
    found = body({"tools": {"type": "toolArray", "tools": tools}})["tools"]
    assert found[0] == tools[0]
    assert found[1]["function"]["parameters"] == {"type": "object", "properties": {}}
    assert body({"tools": {"type": "none"}}) == {}
    assert body({"tools": {"type": "toolArray"}}) == {}


def test_log_probabilities() -> None:
    assert body({"logProbs": on(3)}) == {"logprobs": True, "top_logprobs": 3}
    assert body({"logProbs": OFF}) == {}


def test_a_later_layer_overrides_an_earlier_one() -> None:
    first, second = layer({"temperature": 0.1, "seed": on(1)}), layer({"temperature": 0.9}, "instance")
    found = read_prediction(asked(first, second), str)
    assert (found.body["temperature"], found.body["seed"]) == (0.9, 1)
    assert found.config == {
        "fields": [
            {"key": "llm.prediction.temperature", "value": 0.9},
            {"key": "llm.prediction.seed", "value": on(1)},
        ]
    }


def test_what_has_no_effect_here_harms_nothing() -> None:
    values = {
        "contextOverflowPolicy": "rollingWindow",
        "llama.cpuThreads": 3,
        "speculativeDecoding.draftModel": "",
        "toolCallStopStrings": ["x"],
        "vision.something": 1,
        "unheardOf": {},
    }
    assert body(values) == {}
    assert read_prediction({"history": {"messages": [said("x")]}}, str).body["stream"] is True


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temperature", "hot"),
        ("temperature", -1),
        ("temperature", True),
        ("topPSampling", {"value": 1}),
        ("topPSampling", on(2)),
        ("maxPredictedTokens", on(1.5)),
        ("stopStrings", "x"),
        ("stopStrings", ["x"] * 65),
        ("structured", {"type": "xml"}),
        ("structured", {"type": "gbnf"}),
        ("tools", {"type": "toolArray", "tools": [{"type": "function"}]}),
        ("tools", ["add"]),
        ("toolChoice", "auto"),
        ("contextOverflowPolicy", "shrug"),
        ("llama.logitBias", [["x", 1]]),
        ("logProbs", on(21)),
        ("reasoning.parsing", {}),
        ("reasoning.enableThinking", 1),
        ("systemPrompt", 1),
    ],
)
def test_a_wrong_value_is_named(key: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        body({key: value})
    assert refused.value.param is not None
    assert refused.value.param.startswith(f"llm.prediction.{key}")


# ---- raw completions


def template(text: str) -> dict[str, Any]:
    return {"type": "jinja", "jinjaPromptTemplate": {"template": text}, "stopStrings": []}


def test_the_older_clients_ask_for_a_raw_completion_with_a_template_that_adds_nothing() -> None:
    own = layer({"maxPredictedTokens": on(5)})
    formatting = layer({"promptTemplate": template(IDENTITY)}, "completeModeFormatting")
    found = read_prediction(asked(own, formatting, messages=[said("Once"), said(" upon")]), str)
    assert found.route is Route.COMPLETION
    assert found.body == {"prompt": "Once upon", "max_tokens": 5, "stream": True}
    assert read_prediction(asked(layer({"promptTemplate": template(IDENTITY)})), str).route is Route.COMPLETION


def test_the_newer_clients_send_the_prompt() -> None:
    found = read_completion({"rawPrompt": "Once", "predictionConfigStack": {"layers": [layer({"logProbs": on(2)})]}})
    assert found.body == {"prompt": "Once", "stream": True, "logprobs": 2}
    with pytest.raises(InvalidRequest, match="rawPrompt"):
        read_completion({})


def test_a_raw_completion_takes_a_schema_as_llama_cpp_knows_it_there() -> None:
    stack = {"layers": [layer({"structured": {"type": "json", "jsonSchema": SCHEMA}})]}
    found = read_completion({"rawPrompt": "x", "predictionConfigStack": stack})
    assert "response_format" not in found.body
    assert found.settings.extras == {"json_schema": SCHEMA}
    assert found.settings.needed == {"json_schema"}


def test_another_template_is_refused_as_it_would_change_the_answer() -> None:
    with pytest.raises(UnsupportedFeature, match="template"):
        body({"promptTemplate": template("{{ messages }}")})


# ---- history


def messages(*given: dict[str, Any], **values: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_prediction(
        asked(layer(values), messages=list(given)), lambda identifier: f"data:image/png;base64,{identifier}"
    ).body["messages"]
    return found


def test_texts_of_a_message_are_one() -> None:
    parts = {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    assert messages(said("Be kind.", "system"), parts) == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "ab"},
    ]


def test_a_system_prompt_of_the_settings_is_for_histories_without_one() -> None:
    own = said("Be kind.", "system")
    assert messages(said("x"), systemPrompt="Be brief.")[0] == {"role": "system", "content": "Be brief."}
    assert messages(own, said("x"), systemPrompt="Be brief.")[0]["content"] == "Be kind."


def test_images_are_parts_in_their_place() -> None:
    image = {"type": "file", "name": "a.png", "identifier": "abc", "sizeBytes": 1, "fileType": "image"}
    (found,) = messages({"role": "user", "content": [{"type": "text", "text": "What?"}, image]})
    assert found["content"] == [
        {"type": "text", "text": "What?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,abc"}},
    ]


def call(**more: Any) -> dict[str, Any]:
    return {"type": "toolCallRequest", "toolCallRequest": {"type": "function", "name": "add", **more}}


def result(content: str, **more: Any) -> dict[str, Any]:
    return {"type": "toolCallResult", "content": content, **more}


def test_tool_calls_and_their_results() -> None:
    asking = {"role": "assistant", "content": [{"type": "text", "text": ""}, call(id="c1", arguments={"a": 1})]}
    found = messages(said("x"), asking, {"role": "tool", "content": [result("5", toolCallId="c1")]})
    assert found[1]["content"] is None
    assert found[1]["tool_calls"][0]["id"] == "c1"
    assert json.loads(found[1]["tool_calls"][0]["function"]["arguments"]) == {"a": 1}
    assert found[2] == {"role": "tool", "tool_call_id": "c1", "content": "5"}


def test_calls_without_ids_and_their_results_find_each_other_by_their_order() -> None:
    asking = {"role": "assistant", "content": [call(), call()]}
    found = messages(said("x"), asking, {"role": "tool", "content": [result("1"), result("2")]})
    ids = [each["id"] for each in found[1]["tool_calls"]]
    assert len(set(ids)) == 2
    assert [each["tool_call_id"] for each in found[2:]] == ids


@pytest.mark.parametrize(
    "history",
    [
        None,
        {"messages": []},
        {"messages": [{"role": "narrator", "content": []}]},
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        {"messages": [{"role": "assistant", "content": [{"type": "toolCallRequest"}]}]},
        {"messages": [{"role": "tool", "content": [{"type": "text", "text": "5"}]}]},
        {"messages": ["hello"]},
        {"messages": [said("x")] * 4097},
    ],
)
def test_a_history_that_nobody_can_read_is_refused(history: Any) -> None:
    with pytest.raises(InvalidRequest):
        read_prediction({"history": history}, str)


@pytest.mark.req("F-124")
def test_many_calls_and_results_find_each_other_without_a_search() -> None:
    names = [f"c{number}" for number in range(30_000)]
    calls = [{"type": "toolCallRequest", "toolCallRequest": {"id": each, "name": "f"}} for each in names]
    results = [{"type": "toolCallResult", "content": "", "toolCallId": each} for each in reversed(names)]
    strange = {"type": "toolCallResult", "content": "", "toolCallId": ["x"]}
    history = {"messages": [{"role": "assistant", "content": calls}, {"role": "tool", "content": [*results, strange]}]}
    messages = read_prediction({"history": history, "predictionConfigStack": {"layers": []}}, str).body["messages"]
    assert [each["tool_call_id"] for each in messages[1:]] == [*names[::-1], "call"]
