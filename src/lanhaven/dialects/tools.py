"""Tools for models whose chat template knows none, such as SmolLM2.

llama.cpp drops `tools` without a word where the template has no place for them: the model never hears of them, and
`tool_choice: required` gives plain text. So they are told in the system message, the answer is held to a JSON schema
(`{"tool_calls": [...]}`, or `{"content": "..."}` where the model may also just talk), and that JSON is read back into
the tool calls of an OpenAI stream. Calls and results that lie behind are told as plain messages.

    told = tell(body)                        changes the body; None: there is nothing to read back
    async for chunk in told.read(chunks(exchange)): ...

A tool that has answered since the last user message is not offered again: such models repeat a call for ever.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from lanhaven.dialects.chunks import Chunk, ChunkChoice, Delta, FunctionDelta, ToolCallDelta
from lanhaven.errors import InvalidRequest
from lanhaven.types.models import ModelInfo
from lanhaven.wire import encode

_CONTENT = re.compile(r'\s*\{\s*"content"\s*:\s*"')
_CALLS = re.compile(r'\s*\{\s*"tool_calls"')
# The part of a JSON string that can be read already: no half escape, no first half of a surrogate pair.
_WHOLE = re.compile(
    r'(?:[^"\\]|\\["\\/bfnrt]|\\u(?![dD][89abAB])[0-9a-fA-F]{4}'
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}(?:\\u[0-9a-fA-F]{4}|(?=[^\\]|\\[^u])))*"
)
_HOW = (
    'To call a tool, answer with {"tool_calls": [{"name": NAME, "arguments": {...}}]}. '
    'When you need no tool, answer with {"content": TEXT}.'
)
_HOW_ONLY = 'Answer with {"tool_calls": [{"name": NAME, "arguments": {...}}]}.'


def must_be_told(info: ModelInfo) -> bool:
    """Whether this model chats, and its template has no place for tools."""
    return "chat" in info.capabilities and "tools" not in info.capabilities


def tell(body: dict[str, Any]) -> Told | None:
    """Take the tools out of a chat body and tell of them in words. InvalidRequest if the answer has a format."""
    messages = body.get("messages") or []
    tools, required = _offered(body.pop("tools", None) or [], body.pop("tool_choice", None) or "auto", messages)
    parallel = body.pop("parallel_tool_calls", None) is True
    body["messages"] = _told_messages(messages, _instructions(tools, required) if tools else None)
    if not tools:
        return None
    if body.get("response_format") not in (None, {"type": "text"}):
        raise InvalidRequest(
            "This model takes tools or a format of the answer, not both at once.", param="tools", retry=False
        )
    schema = _schema(tools, required=required, most=8 if parallel else 1)
    body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    return Told()


def _offered(tools: Sequence[Any], choice: Any, messages: Sequence[Any]) -> tuple[list[dict[str, Any]], bool]:
    """The functions that may be called now, and whether one must be."""
    functions = [_function(each) for each in tools]
    match choice:
        case "none":
            return [], False
        case "required":
            return functions, True
        case {"function": {"name": name}}:
            return [each for each in functions if each["name"] == name], True
    answered = _answered(messages)
    return [each for each in functions if each["name"] not in answered], False


def _function(tool: Any) -> dict[str, Any]:
    match tool:
        case {"function": {"name": str()} as function}:
            found: dict[str, Any] = function
            return found
    raise InvalidRequest("Each tool must have a function with a name.", param="tools", retry=False)


def _answered(messages: Sequence[Any]) -> set[str]:
    """Names of the tools that have answered since the last user message."""
    since = max((at for at, each in enumerate(messages) if each.get("role") == "user"), default=0)
    results = {str(each.get("tool_call_id")) for each in messages[since:] if each.get("role") == "tool"}
    calls = (call for each in messages[since:] for call in _calls_of(each))
    return {call.name for call in calls if call.call_id in results}


class _Call(NamedTuple):
    """A call that lies behind."""

    call_id: str
    name: str
    arguments: Any


def _calls_of(message: Any) -> list[_Call]:
    """The calls of a message, those that are some."""
    found = []
    for each in message.get("tool_calls") or ():
        match each:
            case {"function": {"name": str(name)} as function}:
                found.append(_Call(str(each.get("id")), name, function.get("arguments")))
    return found


def _instructions(tools: Sequence[dict[str, Any]], required: bool) -> str:
    listed = "\n".join(encode(each).decode() for each in tools)
    return f"You can call these tools:\n{listed}\n\n{_HOW_ONLY if required else _HOW}"


def _told_messages(messages: Sequence[Any], instructions: str | None) -> list[dict[str, Any]]:
    """Plain messages: the instructions in the system message, calls as their JSON, results as words of the user."""
    names: dict[str, str] = {}
    told: list[dict[str, Any]] = []
    for message in messages:
        calls = _calls_of(message)
        if calls:
            names |= {each.call_id: each.name for each in calls}
            told.append({"role": "assistant", "content": _calls_in_words(message.get("content"), calls)})
        elif message.get("role") == "tool":
            name = names.get(str(message.get("tool_call_id")), "the tool")
            _add_result(told, f"Result of {name}: {_text(message.get('content'))}")
        else:
            told.append(dict(message))
    if instructions is None:
        if messages and messages[-1].get("role") == "tool":
            told[-1]["content"] += "\nNow answer the question."
        return told
    if told and told[0].get("role") == "system":
        told[0]["content"] = f"{_text(told[0].get('content'))}\n\n{instructions}"
        return told
    return [{"role": "system", "content": instructions}, *told]


def _add_result(told: list[dict[str, Any]], text: str) -> None:
    """Results that follow one another are one message: templates want user and assistant in turns."""
    if told and told[-1]["role"] == "user" and str(told[-1]["content"]).startswith("Result of "):
        told[-1]["content"] += f"\n{text}"
    else:
        told.append({"role": "user", "content": text})


def _calls_in_words(content: Any, calls: Sequence[_Call]) -> str:
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


def _schema(tools: Sequence[dict[str, Any]], *, required: bool, most: int) -> dict[str, Any]:
    items = {"anyOf": [_exactly({"name": {"const": each["name"]}, "arguments": _parameters(each)}) for each in tools]}
    calls = _exactly({"tool_calls": {"type": "array", "items": items, "minItems": 1, "maxItems": most}})
    return calls if required else {"anyOf": [calls, _exactly({"content": {"type": "string"}})]}


def _parameters(function: dict[str, Any]) -> dict[str, Any]:
    given = function.get("parameters")
    return given if isinstance(given, dict) and given else {"type": "object", "properties": {}}


def _exactly(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


class Told:
    """Reads the JSON of one answer back: words as they come, calls when they are complete."""

    def __init__(self) -> None:
        self._rest = ""  # what has come and is not told yet
        self._talks: bool | None = None  # None: not known yet whether it talks or calls
        self._ended = False  # the text has had its closing quote

    async def read(self, source: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
        """The chunks of a stream with tool calls, from those of the JSON."""
        async for chunk in source:
            if not chunk.choices:
                yield chunk
                continue
            choice = chunk.choices[0]
            text = self.feed(choice.delta.content) if choice.delta.content else ""
            finish = choice.finish_reason
            calls = list(self._calls()) if finish is not None and not self._talks else []
            if calls and finish == "stop":
                finish = "tool_calls"
            for call in calls:
                yield Chunk(choices=[ChunkChoice(delta=Delta(tool_calls=[call]))])
            delta = Delta(content=text or None, reasoning_content=choice.delta.thought)
            chunk.choices = [ChunkChoice(delta=delta, finish_reason=finish, logprobs=choice.logprobs)]
            yield chunk

    def feed(self, text: str) -> str:
        """The words that are whole now."""
        self._rest += text
        if self._talks is None:
            begun = _CONTENT.match(self._rest)
            if begun is not None:
                self._talks, self._rest = True, self._rest[begun.end() :]
            elif _CALLS.match(self._rest):
                self._talks = False
        if not self._talks or self._ended:
            return ""
        whole = _WHOLE.match(self._rest)
        end = whole.end() if whole is not None else 0
        words, self._rest = self._rest[:end], self._rest[end:]
        self._ended = self._rest.startswith('"')
        return _unescaped(words)

    def _calls(self) -> Iterator[ToolCallDelta]:
        """What was called. JSON that was cut short is one call whose arguments nobody can read."""
        try:
            listed = msgspec.json.decode(self._rest)["tool_calls"]
            for index, each in enumerate(listed):
                yield _call(index, str(each["name"]), encode(each["arguments"]).decode())
        except (msgspec.DecodeError, KeyError, TypeError):
            if self._rest.strip():
                yield _call(0, "", self._rest)


def _call(index: int, name: str, arguments: str) -> ToolCallDelta:
    return ToolCallDelta(index, f"call_{secrets.token_hex(8)}", FunctionDelta(name, arguments))


def _unescaped(words: str) -> str:
    """The text of a JSON string. Line breaks that stand in it as they are pass; half pairs become U+FFFD."""
    text: str = json.loads(f'"{words}"', strict=False)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
