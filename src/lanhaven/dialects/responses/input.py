"""The items of a Responses conversation, turned into the messages of a chat. Pure.

Items are flat, messages are turns: what one side says in a row becomes one message, because many chat templates want
user and assistant in turns. An item that cannot be read is an error: a model that never saw a part of the conversation
would answer something else than was asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lanhaven.dialects.responses.fields import text_in, unserved, wrong
from lanhaven.dialects.responses.tools import custom_arguments, told_name
from lanhaven.errors import InvalidRequest
from lanhaven.store import new_id
from lanhaven.wire import encode, read_json

MAX_ITEMS = 100_000
SEAL = "lanhaven1:"  # before the thoughts that a client keeps for us as `encrypted_content`; they are readable text
PREFIXES = {
    "message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs",
    "custom_tool_call": "ctc", "custom_tool_call_output": "ctco",
}  # fmt: skip


def items_of(given: Any) -> list[dict[str, Any]]:
    """`input` as items that each have a type and an id."""
    if isinstance(given, str):
        given = [{"role": "user", "content": given}] if given else []
    if not isinstance(given, list):
        raise wrong("input", "must be a string or a list of items")
    if len(given) > MAX_ITEMS:
        raise wrong("input", f"may hold at most {MAX_ITEMS} items")
    return [_item(each, f"input[{index}]") for index, each in enumerate(given)]


def _item(given: Any, where: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise wrong(where, "must be an object")
    kind = given.get("type") or ("message" if "role" in given else None)
    match kind:
        case "item_reference":
            raise unserved(where, "items are not kept one by one; send the item itself, or previous_response_id")
        case str() if kind in PREFIXES:
            named = given.get("id") if isinstance(given.get("id"), str) and given["id"] else new_id(PREFIXES[kind])
            item = {**given, "id": named, "type": kind}
        case str():
            raise unserved(where, f"items of type {kind} cannot be read here")
        case _:
            raise wrong(f"{where}.type", "must be a string")
    if kind == "message" and isinstance(item.get("content"), str):
        item["content"] = [{"type": _text_type(item), "text": item["content"]}]
    if kind in ("message", "function_call", "function_call_output"):
        item.setdefault("status", "completed")
    return item


def _text_type(message: Mapping[str, Any]) -> str:
    return "output_text" if message.get("role") == "assistant" else "input_text"


def messages_of(instructions: str, items: Sequence[Mapping[str, Any]], fresh: int) -> list[dict[str, Any]]:
    """A chat's messages. `fresh`: so many items at the end are the request's own, which errors point into."""
    turns = Turns()
    if instructions:
        turns.system(instructions)
    for index, item in enumerate(items):
        turns.add(item, f"input[{index - len(items) + fresh}]")
    turns.flush()
    if all(each["role"] == "system" for each in turns.messages):
        turns.user([{"type": "text", "text": ""}])  # Codex loads a model so; templates want a user
    return [_joined(each) for each in turns.messages]


def _joined(message: dict[str, Any]) -> dict[str, Any]:
    """With its pieces put together: done once, because one by one would take the square of the time."""
    content = message["content"]
    match message["role"]:
        case "user" if any(part["type"] != "text" for part in content):
            pass
        case "user":
            message["content"] = "\n\n".join(part["text"] for part in content)
        case "system" | "assistant":
            message["content"] = "\n\n".join(each for each in content if each)
    if "reasoning_content" in message:
        message["reasoning_content"] = "\n\n".join(message["reasoning_content"])
    return message


@dataclass(slots=True)
class Turns:
    """Messages as they grow. Thoughts wait for what the assistant does next; pictures that tools gave wait until all
    results are told, and are the user's then, because a tool message may hold text only."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    _thoughts: list[str] = field(default_factory=list)
    _pictures: list[dict[str, Any]] = field(default_factory=list)

    def add(self, item: Mapping[str, Any], where: str) -> None:
        """One more item."""
        kind = item["type"]
        if not kind.endswith("_output"):
            self.flush()
        match kind:
            case "message":
                self._message(item, where)
            case "reasoning":
                self._thoughts += thoughts_of(item)
            case "function_call":
                self._call(item, where, _arguments(text_in(item, "arguments", where, empty=True)))
            case "custom_tool_call":
                self._call(item, where, custom_arguments(text_in(item, "input", where, empty=True)))
            case _:
                self._result(item, where)

    def system(self, text: str) -> None:
        """What the operator says. Within a conversation it is told in the user's turn, in words that models know for
        it: many chat templates refuse a system message that is not the first, and moved to the front it would change
        the prompt that the cache holds."""
        if not self.messages:
            self.messages.append({"role": "system", "content": [text]})
        elif self.messages[-1]["role"] == "system":
            self.messages[-1]["content"].append(text)
        else:
            self.user([{"type": "text", "text": f"<system-reminder>\n{text}\n</system-reminder>"}])

    def user(self, parts: list[dict[str, Any]]) -> None:
        """What the user says."""
        self._thoughts = []
        if self.messages and self.messages[-1]["role"] == "user":
            self.messages[-1]["content"] += parts
        else:
            self.messages.append({"role": "user", "content": list(parts)})

    def flush(self) -> None:
        """The results of tools are all told."""
        if self._pictures:
            pictures, self._pictures = self._pictures, []
            self.user(pictures)

    def _message(self, item: Mapping[str, Any], where: str) -> None:
        parts = parts_of(item.get("content"), f"{where}.content")
        match item.get("role"):
            case "user":
                self.user(parts)
            case "assistant":
                text = _only_text(parts, where, "")
                self._said()["content"].append(text)
            case "system" | "developer":
                self.system(_only_text(parts, where, "\n\n"))
            case _:
                raise wrong(f"{where}.role", "must be user, assistant, system or developer")

    def _said(self) -> dict[str, Any]:
        """The assistant's turn."""
        if not self.messages or self.messages[-1]["role"] != "assistant":
            self.messages.append({"role": "assistant", "content": []})
        said = self.messages[-1]
        if self._thoughts:
            said.setdefault("reasoning_content", []).extend(self._thoughts)
            self._thoughts = []
        return said

    def _call(self, item: Mapping[str, Any], where: str, arguments: str) -> None:
        space = item.get("namespace")
        name = told_name(space if isinstance(space, str) else None, text_in(item, "name", where))
        function = {"name": name, "arguments": arguments}
        call = {"id": text_in(item, "call_id", where), "type": "function", "function": function}
        said = self._said()
        said.setdefault("tool_calls", []).append(call)

    def _result(self, item: Mapping[str, Any], where: str) -> None:
        parts = parts_of(item.get("output"), f"{where}.output")
        text = "\n\n".join(part["text"] for part in parts if part["type"] == "text")
        self.messages.append({"role": "tool", "tool_call_id": text_in(item, "call_id", where), "content": text})
        self._pictures += [part for part in parts if part["type"] != "text"]


def thoughts_of(item: Mapping[str, Any]) -> list[str]:
    """The texts of a reasoning item: what was thought, else its summary, else what we sealed. What others sealed
    cannot be read."""
    for name in ("content", "summary"):
        listed = item.get(name)
        texts = [each.get("text") for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
        found = [text for text in texts if isinstance(text, str) and text]
        if found:
            return found
    sealed = item.get("encrypted_content")
    return [sealed.removeprefix(SEAL)] if isinstance(sealed, str) and sealed.startswith(SEAL) else []


def parts_of(content: Any, where: str) -> list[dict[str, Any]]:
    """Content as parts of a chat message: texts and pictures."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise wrong(where, "must be a string or a list of parts")
    return [_part(each, f"{where}[{index}]") for index, each in enumerate(content)]


def _part(part: Any, where: str) -> dict[str, Any]:
    if not isinstance(part, dict):
        raise wrong(where, "must be an object")
    match part.get("type"):
        case "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text":
            return {"type": "text", "text": text_in(part, "text", where, empty=True)}
        case "refusal":
            return {"type": "text", "text": text_in(part, "refusal", where, empty=True)}
        case "input_image":
            return _picture(part, where)
        case str(kind):
            raise unserved(where, f"content of type {kind} cannot be read here")
        case _:
            raise wrong(f"{where}.type", "must be a string")


def _picture(part: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What its address is worth is judged with the images of all dialects."""
    if part.get("file_id") is not None:
        raise unserved(f"{where}.file_id", "files are not kept here; send the picture as a data: URI in image_url")
    picture = {"url": text_in(part, "image_url", where)}
    if part.get("detail") in ("low", "high", "auto"):
        picture["detail"] = part["detail"]
    return {"type": "image_url", "image_url": picture}


def _only_text(parts: Sequence[Mapping[str, Any]], where: str, between: str) -> str:
    if any(part["type"] != "text" for part in parts):
        raise wrong(f"{where}.content", "only a user may send pictures")
    return between.join(part["text"] for part in parts)


def _arguments(text: str) -> str:
    """Arguments as they are. Engines fail on a prompt with arguments that are no JSON, and a model that was cut short
    or erred leaves such in the conversation: they are told as what they are."""
    try:
        if isinstance(read_json(text.encode()), dict):
            return text
    except InvalidRequest:
        pass
    return encode({"invalid_json": text} if text.strip() else {}).decode()
