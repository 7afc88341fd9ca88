"""Prediction settings in LM Studio's keys (`llm.prediction.*`) as fields of an OpenAI body.

A *checkbox* `{"checked": false, ...}` means off, also where the default is on; a key that is absent leaves the
instance's default. What no engine here can do for one request has no effect, as in LM Studio with an engine that lacks
it: `llama.cpuThreads`, `llama.tailFreeSampling`, `toolCallStopStrings`, `toolNaming`, `contextPrefill`, `vision.*`,
`speculativeDecoding.*` (it changes the speed, not the answer). A prompt template would change the answer: it is
refused. `contextOverflowPolicy` is about the prompt; an answer always ends at the limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from lanhaven.dialects.tools.schemas import check_grammar, check_schema, check_tools
from lanhaven.errors import InvalidRequest, UnsupportedFeature
from lanhaven.lmstudio.load_values import rows, table
from lanhaven.types.models import Overflow

PREFIX = "llm.prediction."
MAX_STOPS, MAX_BIASES = 64, 4096
DEFAULT_TAGS = ("<think>", "</think>")
OVERFLOW: Mapping[str, Overflow] = MappingProxyType(
    {
        "stopAtLimit": Overflow.ERROR,
        "truncateMiddle": Overflow.DROP_MIDDLE,
        "rollingWindow": Overflow.DROP_OLDEST,
    }
)
# How SDKs up to 1.5.0 ask for a raw completion: a chat of one message under a template that adds nothing.
IDENTITY = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


@dataclass(slots=True)
class Settings:
    """What a prediction config says. body: OpenAI fields. extras: fields beyond them; needed: those of `extras` without
    which the answer would not be what was asked for."""

    body: dict[str, Any] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)
    needed: set[str] = field(default_factory=set)
    raw: bool = False
    system: str | None = None
    tags: tuple[str, str] | None = DEFAULT_TAGS  # around reasoning; None: it is not told apart from the answer
    schema: dict[str, Any] | None = None  # of structured JSON
    overflow: Overflow | None = None


@dataclass(frozen=True, slots=True)
class _Number:
    """A number from low to high. off: what an unchecked box sends."""

    field: str
    low: float
    high: float
    whole: bool = False
    off: float | None = None
    extra: bool = False


_NUMBERS: Mapping[str, _Number] = MappingProxyType(
    {
        "temperature": _Number("temperature", 0, 100),
        "topKSampling": _Number("top_k", -1, 1 << 20, whole=True, off=0),
        "topPSampling": _Number("top_p", 0, 1, off=1.0),
        "minPSampling": _Number("min_p", 0, 1, off=0.0),
        "repeatPenalty": _Number("repeat_penalty", 0, 100, off=1.0),
        "maxPredictedTokens": _Number("max_tokens", -1, 1 << 30, whole=True),
        "seed": _Number("seed", -(1 << 63), (1 << 63) - 1, whole=True),
        "llama.presencePenalty": _Number("presence_penalty", -2, 2, off=0.0),
        "llama.frequencyPenalty": _Number("frequency_penalty", -2, 2, off=0.0),
        "llama.locallyTypicalSampling": _Number("typical_p", 0, 1, off=1.0, extra=True),
        "llama.xtcProbability": _Number("xtc_probability", 0, 1, off=0.0, extra=True),
        "llama.xtcThreshold": _Number("xtc_threshold", 0, 1, off=0.5, extra=True),
    }
)


def collapsed(stack: Any) -> tuple[dict[str, Any], bool]:
    """Key -> value of the last layer that has it (lmstudio-js, collapseKVStack), and whether a layer formats for raw
    completion."""
    values: dict[str, Any] = {}
    raw = False
    for layer in rows(table({} if stack is None else stack, "predictionConfigStack").get("layers"), "layers"):
        layer = table(layer, "layers")
        raw = raw or layer.get("layerName") == "completeModeFormatting"
        for each in rows(table(layer.get("config") or {}, "config").get("fields"), "fields"):
            key = table(each, "fields").get("key")
            if not isinstance(key, str):
                raise InvalidRequest("A field of predictionConfigStack has no key.", param="predictionConfigStack")
            values[key] = each.get("value")
    return {key: value for key, value in values.items() if value is not None}, raw


def fields_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """KVConfig: what was said, as a prediction tells it back."""
    return {"fields": [{"key": key, "value": value} for key, value in values.items()]}


def read_settings(values: Mapping[str, Any], *, raw: bool) -> Settings:
    """InvalidRequest names the key of a value that is of the wrong type or out of range."""
    settings = Settings(raw=raw)
    for full, value in values.items():
        key = full.removeprefix(PREFIX)
        if key == full:
            continue
        number, special = _NUMBERS.get(key), _SPECIAL.get(key)
        if number is not None:
            target = settings.extras if number.extra else settings.body
            target[number.field] = _number(number, value, full)
        elif special is not None:
            special(settings, value, full)
    if settings.raw:
        _for_completion(settings)
    return settings


def _for_completion(settings: Settings) -> None:
    """llama.cpp knows no response_format on its completion route, and ignores it silently: `json_schema` it knows."""
    body = settings.body
    for chat_only in ("tools", "tool_choice", "response_format"):
        body.pop(chat_only, None)
    if settings.schema is not None:
        settings.extras["json_schema"] = settings.schema
        settings.needed.add("json_schema")
    if body.pop("logprobs", None) is not None:
        body["logprobs"] = body.pop("top_logprobs")


def wrong(key: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"{key} {problem}.", param=key, retry=False)


def _unboxed(value: Any, key: str) -> Any:
    """The value of a checkbox; None if it is off. A plain value is one that is on."""
    if not isinstance(value, dict):
        return value
    if not isinstance(value.get("checked"), bool):
        raise wrong(key, 'must look like {"checked": true, "value": ...}')
    return value.get("value") if value["checked"] else None


def _number(rule: _Number, value: Any, key: str) -> float | None:
    given = _unboxed(value, key)
    if given is None:
        return rule.off
    if rule.whole and isinstance(given, float) and given.is_integer():
        given = int(given)  # JavaScript knows no difference, and Python sends 20.0
    good = isinstance(given, int) if rule.whole else isinstance(given, int | float) and math.isfinite(given)
    if isinstance(given, bool) or not good or not rule.low <= given <= rule.high:
        kind = "a whole number" if rule.whole else "a number"
        raise wrong(key, f"must be {kind} from {rule.low:g} to {rule.high:g}")
    number: float = given
    return None if rule.field == "max_tokens" and number == -1 else number


def _stop(settings: Settings, value: Any, key: str) -> None:
    if not isinstance(value, list) or len(value) > MAX_STOPS or not all(isinstance(each, str) for each in value):
        raise wrong(key, f"must be a list of up to {MAX_STOPS} strings")
    settings.body["stop"] = [each for each in value if each]
    if settings.body["stop"]:
        settings.extras["verbose"] = True  # else llama.cpp does not say whether a stop string ended the answer


def _structured(settings: Settings, value: Any, key: str) -> None:
    match value:
        case {"type": "none"}:
            return
        case {"type": "json", "jsonSchema": dict(schema)}:
            check_schema(schema, f"{key}.jsonSchema")
            settings.schema = schema
            form = {"name": "answer", "schema": schema, "strict": True}
            settings.body["response_format"] = {"type": "json_schema", "json_schema": form}
        case {"type": "json"}:
            settings.schema = {"type": "object"}
            settings.body["response_format"] = {"type": "json_object"}
        case {"type": "gbnf", "gbnfGrammar": str(grammar)}:
            check_grammar(f"{key}.gbnfGrammar", grammar)
            settings.extras["grammar"] = grammar
            settings.needed.add("grammar")
        case _:
            raise wrong(key, "must be of the type none, json (with jsonSchema) or gbnf (with gbnfGrammar)")


def _tools(settings: Settings, value: Any, key: str) -> None:
    match value:
        case {"type": "none"}:
            return
        case {"type": "toolArray"}:
            tools = rows(value.get("tools"), key)
        case _:
            raise wrong(key, "must be of the type none or toolArray")
    settings.body |= openai_tools(tools, key)


def openai_tools(tools: Any, key: str) -> dict[str, Any]:
    """`{"tools": [...]}` in OpenAI's words, which LM Studio's are; nothing for none."""
    for tool in tools:
        match tool:
            case {"type": "function", "function": {"name": str()}}:
                pass
            case _:
                raise wrong(key, 'holds a tool that is not {"type": "function", "function": {"name": ...}}')
    check_tools(key, tools)
    return {"tools": [_tool(each["function"]) for each in tools]} if tools else {}


def _tool(function: Mapping[str, Any]) -> dict[str, Any]:
    """Engines want parameters, which LM Studio lets one leave out."""
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    return {"type": "function", "function": {**function, "parameters": parameters}}


def _tool_choice(settings: Settings, value: Any, key: str) -> None:
    mode = value.get("mode") if isinstance(value, dict) else None
    if mode not in ("none", "auto", "required"):
        raise wrong(key, "must have the mode none, auto or required")
    settings.body["tool_choice"] = mode


def _log_probs(settings: Settings, value: Any, key: str) -> None:
    count = _number(_Number("", 0, 20, whole=True), value, key)
    if count is not None:
        settings.body |= {"logprobs": True, "top_logprobs": count}


def _mirostat(settings: Settings, value: Any, key: str) -> None:
    said = table(value, key)
    names = {"version": "mirostat", "learningRate": "mirostat_eta", "targetEntropy": "mirostat_tau"}
    settings.extras |= {
        name: _number(_Number("", 0, 100, whole=name == "mirostat"), said[given], f"{key}.{given}")
        for given, name in names.items()
        if given in said
    }


def _logit_bias(settings: Settings, value: Any, key: str) -> None:
    pairs = rows(value, key)
    rule = _Number("", -1000, 1000)
    if len(pairs) > MAX_BIASES or not all(
        isinstance(each, list) and len(each) == 2 and isinstance(each[0], int) for each in pairs
    ):
        raise wrong(key, f"must be a list of up to {MAX_BIASES} pairs of a token and its bias")
    settings.body["logit_bias"] = {str(token): _number(rule, bias, key) for token, bias in pairs}


def _overflow(settings: Settings, value: Any, key: str) -> None:
    if not isinstance(value, str) or value not in OVERFLOW:
        raise wrong(key, f"must be one of {', '.join(sorted(OVERFLOW))}")
    settings.overflow = OVERFLOW[value]


def _template(settings: Settings, value: Any, key: str) -> None:
    match value:
        case {"type": "jinja", "jinjaPromptTemplate": {"template": str(template)}} if template.strip() == IDENTITY:
            settings.raw = True
        case _ if not settings.raw:
            raise UnsupportedFeature(
                "A prompt template cannot be given with a prediction here.",
                param=key,
                hint="set `chat_template` of the model in models.yaml, or send the whole prompt as a raw completion",
                retry=False,
            )
    stops = value.get("stopStrings") if isinstance(value, dict) else None
    if stops:
        _stop(settings, stops, f"{key}.stopStrings")


def _system(settings: Settings, value: Any, key: str) -> None:
    if not isinstance(value, str):
        raise wrong(key, "must be a string")
    settings.system = value or None


def _parsing(settings: Settings, value: Any, key: str) -> None:
    match value:
        case {"enabled": False}:
            settings.tags = None
        case {"enabled": True, "startString": str(start), "endString": str(end)}:
            settings.tags = (start, end)
        case _:
            raise wrong(key, "must have enabled, startString and endString")


def _thinking(settings: Settings, value: Any, key: str) -> None:
    if not isinstance(value, bool):
        raise wrong(key, "must be true or false")
    settings.extras["chat_template_kwargs"] = {"enable_thinking": value}


_SPECIAL: Mapping[str, Callable[[Settings, Any, str], None]] = MappingProxyType(
    {
        "stopStrings": _stop,
        "structured": _structured,
        "tools": _tools,
        "toolChoice": _tool_choice,
        "logProbs": _log_probs,
        "llama.mirostatSampling": _mirostat,
        "llama.logitBias": _logit_bias,
        "contextOverflowPolicy": _overflow,
        "promptTemplate": _template,
        "systemPrompt": _system,
        "reasoning.parsing": _parsing,
        "reasoning.enableThinking": _thinking,
    }
)
