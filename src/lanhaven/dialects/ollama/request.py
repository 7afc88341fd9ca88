"""Ollama's chat and generate requests, turned into OpenAI chat requests. Pure.

Where Ollama logs and ignores (unknown options, load options of its own runner), so do we, without the log; where it
would answer something else than was asked (a template, a suffix), the request is refused.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lanhaven.dialects.tools.schemas import check_schema, check_tools
from lanhaven.errors import InvalidRequest, UnsupportedFeature
from lanhaven.wire import encode

# Ollama's name -> OpenAI's. num_predict is apart: -1 and -2 mean no limit.
OPTIONS = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "seed": "seed",
    "repeat_penalty": "repeat_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}
EXTRA_OPTIONS = ("typical_p", "repeat_last_n", "mirostat", "mirostat_tau", "mirostat_eta")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER = re.compile(r"[0-9]+\.?[0-9]*|\.[0-9]+")
_DURATION = re.compile(rf"({_NUMBER.pattern})(ns|us|µs|ms|s|m|h)")
MOST_LOGPROBS = 20
_LONGEST = 1e12  # seconds: beyond every other limit, and a float can be made of it


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be done besides asking the model. keep_alive: seconds, negative = for ever, None = not said.
    context: tokens that the instance should hold."""

    model: str
    stream: bool
    chat: bool  # of /api/chat, not /api/generate
    keep_alive: float | None
    context: int | None
    truncate: bool | None  # whether a prompt that is too long may be shortened; None: not said


def read_chat(body: dict[str, Any]) -> tuple[dict[str, Any] | None, Asked, dict[str, Any]]:
    """OpenAI's body (None: only load), what was asked, and fields for those upstreams that know them."""
    asked = read_asked(body, chat=True)
    given = body.get("messages")
    if given is not None and not isinstance(given, list):
        raise _bad("messages", "must be a list")
    if not given:
        return None, asked, {}
    chat: dict[str, Any] = {"model": asked.model, "messages": _messages(given)}
    if body.get("tools"):
        if not isinstance(body["tools"], list):
            raise _bad("tools", "must be a list")
        check_tools("tools", body["tools"])
        chat["tools"] = body["tools"]
    return chat, asked, _how(body, chat)


def read_generate(body: dict[str, Any]) -> tuple[dict[str, Any] | None, Asked, dict[str, Any]]:
    """As `read_chat`; with `raw` the body is one of a text completion."""
    asked = read_asked(body, chat=False)
    prompt = body.get("prompt", "")
    if not isinstance(prompt, str):
        raise _bad("prompt", "must be a string")
    for name in ("suffix", "template"):
        if body.get(name):
            raise UnsupportedFeature(f"{name} is not served here; leave it out.", param=name, retry=False)
    if not prompt and not body.get("images"):
        return None, asked, {}
    if body.get("raw") is True:
        chat: dict[str, Any] = {"model": asked.model, "prompt": prompt}
    else:
        system = [{"role": "system", "content": body["system"]}] if body.get("system") else []
        user = {"role": "user", "content": prompt, "images": body.get("images")}
        chat = {"model": asked.model, "messages": _messages([*system, user])}
    return chat, asked, _how(body, chat)


def read_asked(body: Mapping[str, Any], *, chat: bool) -> Asked:
    """The fields that every request may have. Old clients say `name` for `model`."""
    model = body.get("model") or body.get("name")
    if not isinstance(model, str):
        raise _bad("model", "is required")
    stream = body.get("stream", True)
    if not isinstance(stream, bool | None):
        raise _bad("stream", "must be true or false")
    context = options_of(body).get("num_ctx")
    if context is not None and (not isinstance(context, int) or isinstance(context, bool) or context < 0):
        raise _bad("options.num_ctx", "must be a whole number")
    truncate = body.get("truncate")
    if not isinstance(truncate, bool | None):
        raise _bad("truncate", "must be true or false")
    return Asked(model, stream is not False, chat, seconds_of(body.get("keep_alive")), context or None, truncate)


def are_texts(value: Any) -> bool:
    """Whether it is a text, or a list of texts."""
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) for each in value))


def options_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """`options`, or nothing."""
    options = body.get("options")
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise _bad("options", "must be an object")
    return options


def seconds_of(keep_alive: Any) -> float | None:
    """A number is seconds, a text is a duration in Go's form ("5m", "1h30m", "-1s")."""
    match keep_alive:
        case None:
            return None
        case bool():
            raise _bad("keep_alive", "must be seconds, or a duration such as 5m")
        case int() | float():
            return float(max(-_LONGEST, min(keep_alive, _LONGEST)))
        case str():
            return _duration(keep_alive.strip())
        case _:
            raise _bad("keep_alive", "must be seconds, or a duration such as 5m")


def _duration(text: str) -> float:
    sign, rest = (-1.0, text[1:]) if text.startswith("-") else (1.0, text.removeprefix("+"))
    if _NUMBER.fullmatch(rest):
        return sign * float(rest)  # Go wants a unit, except for 0; clients send "300" nevertheless
    parts = _DURATION.findall(rest)
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        raise _bad("keep_alive", f"{text!r} is no duration such as 5m or 1h30m")
    return sign * sum(float(number) * _UNITS[unit] for number, unit in parts)


def _how(body: Mapping[str, Any], chat: dict[str, Any]) -> dict[str, Any]:
    """Options, format and thinking into `chat`; returns the fields that only some upstreams know."""
    options = options_of(body)
    for name, ours in OPTIONS.items():
        value = options.get(name)
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise _bad(f"options.{name}", "must be a number")
            chat[ours] = int(value) if name in {"top_k", "seed"} else value
    limit = options.get("num_predict")
    if isinstance(limit, int) and limit > 0:
        chat["max_tokens"] = limit
    stop = options.get("stop")
    if stop:
        if not are_texts(stop):
            raise _bad("options.stop", "must be a string or a list of strings")
        chat["stop"] = stop
    _add_format(body.get("format"), chat)
    if body.get("logprobs") is True:
        chat |= {"logprobs": True, "top_logprobs": _top_logprobs(body.get("top_logprobs"))}
    extras = {name: options[name] for name in EXTRA_OPTIONS if options.get(name) is not None}
    think = body.get("think")
    if think is not None:
        extras["chat_template_kwargs"] = {"enable_thinking": bool(think)}
        if isinstance(think, str):
            chat["reasoning_effort"] = think
    return extras


def _top_logprobs(count: Any) -> int:
    """At most as many as Ollama takes: an engine would list its whole vocabulary for each token."""
    if count is None:
        return 0
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MOST_LOGPROBS:
        raise _bad("top_logprobs", f"must be a whole number from 0 to {MOST_LOGPROBS}")
    return count


def _add_format(form: Any, chat: dict[str, Any]) -> None:
    match form:
        case None | "":
            return
        case "json":
            chat["response_format"] = {"type": "json_object"}
        case dict():
            check_schema(form, "format")
            chat["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": form}}
        case _:
            raise _bad("format", 'must be "json" or a JSON schema')


def _messages(given: list[Any]) -> list[dict[str, Any]]:
    """Ollama's tool calls have no ids: those that OpenAI's format needs are counted, and results find theirs in
    order."""
    messages: list[dict[str, Any]] = []
    open_calls = _OpenCalls()
    for index, message in enumerate(given):
        where = f"messages[{index}]"
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise _bad(where, "must be an object with a role")
        said: dict[str, Any] = {"role": message["role"], "content": _content(message, where)}
        thinking = message.get("thinking")
        if not isinstance(thinking, str | None):
            raise _bad(f"{where}.thinking", "must be a string")
        if thinking:
            said["reasoning_content"] = thinking
        if message.get("tool_calls"):
            said["tool_calls"] = _calls(message["tool_calls"], where, f"call_{index}")
            for call in said["tool_calls"]:
                open_calls.add(call)
        if message["role"] == "tool":
            said["tool_call_id"] = message.get("tool_call_id") or open_calls.answered(message.get("tool_name"), where)
        messages.append(said)
    return messages


class _OpenCalls:
    """Calls that have no result yet, in their order and by their names: both found at once, however many there are."""

    def __init__(self) -> None:
        self._ids: OrderedDict[int, tuple[str, str]] = OrderedDict()  # number -> id and name
        self._numbers: dict[str, deque[int]] = {}  # of each name
        self._count = 0

    def add(self, call: Mapping[str, Any]) -> None:
        name: str = call["function"]["name"]
        self._ids[self._count] = call["id"], name
        self._numbers.setdefault(name, deque()).append(self._count)
        self._count += 1

    def answered(self, name: Any, where: str) -> str:
        """The id of the first call of this name; without a name, of the first of all."""
        if not name and self._ids:
            _, (call_id, called) = self._ids.popitem(last=False)
            self._numbers[called].popleft()
            return call_id
        if isinstance(name, str) and self._numbers.get(name):
            return self._ids.pop(self._numbers[name].popleft())[0]
        if name:
            return f"call_{name}"  # a result without its call, as after a cut history
        raise _bad(f"{where}.tool_name", "is required where no call is open")


def _calls(given: Any, where: str, prefix: str) -> list[dict[str, Any]]:
    calls = []
    for index, call in enumerate(given if isinstance(given, list) else ()):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise _bad(f"{where}.tool_calls[{index}]", "must have a function with a name")
        arguments = function.get("arguments") or {}
        text = arguments if isinstance(arguments, str) else encode(arguments).decode()
        told = {"name": function["name"], "arguments": text}
        calls.append({"id": call.get("id") or f"{prefix}_{index}", "type": "function", "function": told})
    return calls


def _content(message: Mapping[str, Any], where: str) -> Any:
    text = message.get("content") or ""
    if not isinstance(text, str):
        raise _bad(f"{where}.content", "must be a string")
    images = message.get("images")
    if not images:
        return text
    if not isinstance(images, list):
        raise _bad(f"{where}.images", "must be a list of base64 texts")
    pictures = [_picture(each, f"{where}.images[{index}]") for index, each in enumerate(images)]
    return [{"type": "text", "text": text}, *pictures]


def _picture(data: Any, where: str) -> dict[str, Any]:
    """Bare base64, without the "data:" that everybody else wants and some clients write here too."""
    if not isinstance(data, str) or not data:
        raise _bad(where, "must be a picture as base64")
    return {"type": "image_url", "image_url": {"url": data if data.startswith("data:") else f"data:;base64,{data}"}}


def _bad(where: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"{where} {why}", param=where, retry=False)
