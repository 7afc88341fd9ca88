"""Tools in words, for models whose template has no place for them, and the schema that holds their answers. Pure.

llama.cpp drops `tools` without a word where the template does: the model never hears of them, and `tool_choice:
required` gives plain text. So they are told in the system message, and the answer is held to JSON: {"tool_calls":
[{"name", "arguments"}]}, or {"content"} where the model may also just talk. Calls and results that lie behind are
told as plain messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from lanhaven.dialects.tools.schemas import parts_of, resolve
from lanhaven.wire import encode

MOST_CALLS = 8  # of one answer
Json = dict[str, Any]

_CALL = '{"tool_calls": [{"name": NAME, "arguments": {...}}]}'


class PastCall(NamedTuple):
    """A call that lies behind."""

    call_id: str
    name: str
    arguments: Any


def past_calls(message: Any) -> list[PastCall]:
    """The calls of a message, those that are some."""
    found = []
    for each in message.get("tool_calls") or ():
        match each:
            case {"function": {"name": str(name)} as function}:
                found.append(PastCall(str(each.get("id")), name, function.get("arguments")))
    return found


def key_of(name: str, arguments: Any) -> tuple[str, bytes]:
    """The same for two calls that ask the same."""
    if isinstance(arguments, str):
        with suppress(msgspec.DecodeError):
            arguments = msgspec.json.decode(arguments)
    return name, msgspec.json.encode(arguments, order="sorted")


def answered(messages: Sequence[Any]) -> frozenset[tuple[str, bytes]]:
    """The calls that have been answered since the last user message."""
    since = max((at for at, each in enumerate(messages) if each.get("role") == "user"), default=0)
    results = {str(each.get("tool_call_id")) for each in messages[since:] if each.get("role") == "tool"}
    calls = (call for each in messages[since:] for call in past_calls(each))
    return frozenset(key_of(each.name, each.arguments) for each in calls if each.call_id in results)


def instructions(tools: Sequence[Json], *, required: bool, form: Any) -> str:
    """What the system message says of the tools. form: the schema that words have to fit."""
    listed = "\n".join(encode(each).decode() for each in tools)
    if required:
        how = f"Answer with {_CALL}."
    else:
        text = "TEXT" if form is None else f"JSON that fits this schema: {encode(form).decode()}"
        how = f"To call a tool, answer with {_CALL}. When you need no tool, answer with " + (
            f'{{"content": {text}}}.' if form is None else f'{{"content": ...}}, where ... is {text}'
        )
    return f"You can call these tools:\n{listed}\n\n{how}"


def told_messages(messages: Sequence[Any], told: str | None) -> list[Json]:
    """Plain messages: `told` in the system message, calls as their JSON, results as words of the user."""
    names: dict[str, str] = {}
    results: list[str] = []  # that follow one another: they are one message, for templates want both sides in turns
    plain: list[Json] = []
    for message in messages:
        calls = past_calls(message)
        if message.get("role") == "tool" and not calls:
            name = names.get(str(message.get("tool_call_id")), "the tool")
            results.append(f"Result of {name}: {_text(message.get('content'))}")
            continue
        _add_results(plain, results)
        if calls:
            names |= {each.call_id: each.name for each in calls}
            plain.append({"role": "assistant", "content": _calls_in_words(message.get("content"), calls)})
        else:
            plain.append(dict(message))
    _add_results(plain, results)
    if told is None:
        if messages and messages[-1].get("role") == "tool":
            plain[-1]["content"] += "\nNow answer the question."
        return plain
    if plain and plain[0].get("role") == "system":
        plain[0]["content"] = f"{_text(plain[0].get('content'))}\n\n{told}"
        return plain
    return [{"role": "system", "content": told}, *plain]


def _add_results(plain: list[Json], results: list[str]) -> None:
    if results:
        plain.append({"role": "user", "content": "\n".join(results)})
        results.clear()


def _calls_in_words(content: Any, calls: Sequence[PastCall]) -> str:
    listed = [{"name": each.name, "arguments": msgspec.Raw(_object(each.arguments))} for each in calls]
    said = _text(content)
    return (f"{said}\n" if said else "") + encode({"tool_calls": listed}).decode()


def _text(content: Any) -> str:
    """A message's content: a string, or its text parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "".join(str(each.get("text", "")) for each in parts if isinstance(each, dict))


def _object(arguments: Any) -> bytes:
    """Arguments as the JSON that they are; as a JSON string where they are none."""
    try:
        return encode(msgspec.json.decode(arguments))
    except (msgspec.DecodeError, TypeError):
        return encode(arguments)


def answer_format(tools: Sequence[Json], *, most: int, talks: bool, form: Any) -> Json:
    """The `response_format` that lets a model call one of these tools, or (`talks`) say something that fits `form`."""
    home = _Home()
    branches: list[Json] = []
    if tools:
        items = [_item(each, home.settled(_parameters(each))) for each in tools]
        calls = {"type": "array", "items": {"anyOf": items}, "minItems": 1, "maxItems": most}
        branches.append(_exactly({"tool_calls": calls}))
    if talks or not tools:
        branches.append(_exactly({"content": {"type": "string"} if form is None else home.settled(form)}))
    schema = branches[0] if len(branches) == 1 else {"anyOf": branches}
    if home.defs:
        schema = {**schema, "$defs": home.defs}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def _item(function: Json, parameters: Any) -> Json:
    return _exactly({"name": {"const": function["name"]}, "arguments": parameters})


def _parameters(function: Json) -> Json:
    given = function.get("parameters")
    return given if isinstance(given, dict) and given else {"type": "object", "properties": {}}


def _exactly(properties: Json) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


class _Home:
    """Schemas that become parts of one: what they refer to moves into its $defs, under names of their own.

    llama.cpp knows a definition by the last word of its path alone, so two tools' `Item` would be one.
    """

    def __init__(self) -> None:
        self.defs: Json = {}
        self._count = 0

    def settled(self, schema: Any) -> Any:
        """The schema with references that hold where it will stand."""
        if not any("$ref" in part for part, _ in parts_of(schema)):
            return schema
        self._count += 1
        names: dict[str, str] = {}
        waiting: list[str] = []  # definitions may lead on and on: one after the other, not one within the other
        settled = self._moved(schema, names, waiting)
        while waiting:
            ref = waiting.pop()
            self.defs[names[ref]] = self._moved(resolve(schema, ref, "$ref"), names, waiting)
        return settled

    def _moved(self, value: Any, names: dict[str, str], waiting: list[str]) -> Any:
        """names: what references are called there; waiting: those of them that are not moved yet."""
        if isinstance(value, list):
            return [self._moved(each, names, waiting) for each in value]
        if not isinstance(value, dict):
            return value
        moved = {
            name: self._moved(each, names, waiting)
            for name, each in value.items()
            if name not in ("$ref", "$defs", "definitions")
        }
        ref = value.get("$ref")
        if isinstance(ref, str):
            if ref not in names:
                names[ref] = f"d{self._count}_{len(names)}"
                waiting.append(ref)
            moved["$ref"] = f"#/$defs/{names[ref]}"
        return moved


def history_has_tools(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a tool was called, or answered."""
    for each in messages:  # noqa: SIM110 - on the hot path, where a generator costs twice as much
        if each.get("role") == "tool" or each.get("tool_calls"):
            return True
    return False
