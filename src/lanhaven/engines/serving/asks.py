"""A request's body, read: what is to be generated and how. The gateway has checked it already; nothing is trusted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Protocol

from lanhaven.engines.serving.bad import BadRequest
from lanhaven.engines.serving.choice import Choice

MOST_CHOICES = 64
MOST_TOP = 100

# Field of a request -> field of Choice.
_NUMBERS: Mapping[str, str] = MappingProxyType(
    {
        "temperature": "temperature",
        "top_p": "top_p",
        "min_p": "min_p",
        "repeat_penalty": "repeat_penalty",
        "repetition_penalty": "repeat_penalty",
        "presence_penalty": "presence_penalty",
        "frequency_penalty": "frequency_penalty",
        "xtc_probability": "xtc_probability",
        "xtc_threshold": "xtc_threshold",
    }
)


class Grammars(Protocol):
    """Makes what holds one answer to a schema or grammar; what that is, the engine knows. BadRequest: it cannot."""

    def of_schema(self, schema: Mapping[str, Any]) -> Any: ...

    def of_gbnf(self, text: str) -> Any:
        """A grammar in llama.cpp's notation."""
        ...


@dataclass(frozen=True, slots=True)
class Ask:
    """What is common to all answers of a request. `most`: tokens of each answer, None = until the context is full.

    bind: makes what holds an answer to a schema or grammar. tools: those offered. force: the first thing is a call.
    """

    chat: bool
    choice: Choice
    most: int | None
    stops: tuple[str, ...]
    answers: int
    stream: bool
    usage: bool
    progress: bool
    verbose: bool
    top: int | None
    bind: Callable[[], Any] | None
    tools: Sequence[Any] | None
    force: bool


def read_ask(body: Mapping[str, Any], *, chat: bool, defaults: Choice, grammars: Grammars, can_call: bool) -> Ask:
    """BadRequest names the field."""
    tools = _tools(body, can_call=can_call) if chat else None
    options = body.get("stream_options")
    stream = body.get("stream") is True
    return Ask(
        chat=chat,
        choice=_choice(body, defaults),
        most=_most(body),
        stops=_stops(body.get("stop")),
        answers=_whole(body, "n", 1, least=1, most=MOST_CHOICES),
        stream=stream,
        usage=not stream or (isinstance(options, dict) and options.get("include_usage") is True),
        progress=stream and body.get("return_progress") is True,
        verbose=body.get("verbose") is True,
        top=_top(body, chat=chat),
        bind=_binding(body, grammars),
        tools=tools,
        force=tools is not None and _forced(body.get("tool_choice")),
    )


def _choice(body: Mapping[str, Any], defaults: Choice) -> Choice:
    said: dict[str, Any] = {}
    for name, field in _NUMBERS.items():
        if (value := body.get(name)) is not None:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise BadRequest(f"{name} must be a number")
            said[field] = float(value)
    if body.get("top_k") is not None:
        said["top_k"] = _whole(body, "top_k", 0, least=-1)
    if body.get("seed") is not None and body["seed"] != -1:
        said["seed"] = _whole(body, "seed", 0, least=None)
    if body.get("logit_bias"):
        said["logit_bias"] = _bias(body["logit_bias"])
    return replace(defaults, **said)


def _bias(value: Any) -> tuple[tuple[int, float], ...]:
    try:
        return tuple((int(token), float(bias)) for token, bias in value.items())
    except (AttributeError, TypeError, ValueError):
        raise BadRequest("logit_bias must be an object of tokens and numbers") from None


def _most(body: Mapping[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens", "n_predict"):
        if body.get(name) is not None:
            value = _whole(body, name, 0, least=-1)
            return None if value < 0 else max(value, 1)
    return None


def _whole(body: Mapping[str, Any], name: str, default: int, *, least: int | None = 0, most: int | None = None) -> int:
    value = body.get(name)
    if value is None:
        return default
    if type(value) is not int or (least is not None and value < least) or (most is not None and value > most):
        raise BadRequest(f"{name} must be a whole number" + (f" from {least} on" if least is not None else ""))
    return value


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value or []
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise BadRequest("stop must be a text or a list of texts")
    return tuple(stops)


def _top(body: Mapping[str, Any], *, chat: bool) -> int | None:
    if chat:
        if body.get("logprobs") is not True:
            return None
        return _whole(body, "top_logprobs", 0, most=MOST_TOP)
    if body.get("logprobs") is None or body["logprobs"] is False:
        return None
    return 0 if body["logprobs"] is True else _whole(body, "logprobs", 0, most=MOST_TOP)


def _binding(body: Mapping[str, Any], grammars: Grammars) -> Callable[[], Any] | None:
    """One of its own for each answer; made once here already, so that what is wrong is said at once."""
    schema = body.get("json_schema", _schema_of(body.get("response_format")))
    if schema is not None:
        if not isinstance(schema, dict | bool):
            raise BadRequest("the JSON schema must be an object")
        grammars.of_schema(schema if isinstance(schema, dict) else {})
        return lambda: grammars.of_schema(schema if isinstance(schema, dict) else {})
    if body.get("grammar"):
        text = str(body["grammar"])
        grammars.of_gbnf(text)
        return lambda: grammars.of_gbnf(text)
    return None


def _schema_of(wanted: Any) -> Any:
    if not isinstance(wanted, dict):
        return None
    match wanted.get("type"):
        case "json_object":
            return wanted.get("schema") or {"type": "object"}
        case "json_schema":
            inner = wanted.get("json_schema")
            schema = inner.get("schema") if isinstance(inner, dict) else wanted.get("schema")
            return {} if schema is None else schema
        case "text" | None:
            return None
        case other:
            raise BadRequest(f"response_format type must be one of text, json_object and json_schema, not {other!r}")


def _tools(body: Mapping[str, Any], *, can_call: bool) -> Sequence[Any] | None:
    tools = body.get("tools")
    if not tools or body.get("tool_choice") == "none":
        return None
    if not isinstance(tools, list):
        raise BadRequest("tools must be a list")
    if not can_call:
        raise BadRequest("this model does not support tools: its chat template has no known form of calls")
    chosen = body.get("tool_choice")
    name = chosen.get("function", {}).get("name") if isinstance(chosen, dict) else None
    if not all(isinstance(tool, dict) and isinstance(tool.get("function"), dict) for tool in tools):
        raise BadRequest("each of tools must have a function")
    named = [tool for tool in tools if name is None or tool["function"].get("name") == name]
    if not named:
        raise BadRequest(f"tool_choice names {name!r}, which is not among the tools")
    return named


def _forced(choice: Any) -> bool:
    return choice == "required" or isinstance(choice, dict)
