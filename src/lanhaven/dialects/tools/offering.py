"""What a request offers: which tools may be called, whether one must be, and who sees to it. Pure.

| `tool_choice` | the template knows no tools | it does, and the engine holds schemas | another server |
| --- | --- | --- | --- |
| none | the tools are left out | left out | left out |
| auto | told in words, held to a schema | the engine's own way, its text watched | passed on, its text watched |
| required, named | told, held to a schema | told, held to a schema | passed on, its answer checked |

llama.cpp does not see to `required` with a template that knows tools: the model talks until max_tokens. Beside a
format of the answer it calls no tool at all, so the two together are told as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lanhaven.dialects.tools.schemas import schema_of
from lanhaven.dialects.tools.telling import (
    MOST_CALLS,
    Json,
    answer_format,
    answered,
    history_has_tools,
    instructions,
    told_messages,
)
from lanhaven.errors import InvalidRequest
from lanhaven.types.models import ModelInfo

_FIELDS = ("tools", "tool_choice", "parallel_tool_calls")


@dataclass(frozen=True, slots=True)
class Offer:
    """What was offered, for whoever reads the answer.

    names: of the tools that may be called. told: in words, so the answer is JSON. must: a call is required. one: at
    most one call. form: the schema of an answer in words; formatted: there is one. tools: those that were told.
    done: calls that were answered already, and are not made once more.
    """

    names: frozenset[str]
    told: bool = False
    must: bool = False
    one: bool = False
    form: Any = None
    formatted: bool = False
    tools: tuple[Json, ...] = ()
    done: frozenset[tuple[str, bytes]] = frozenset()

    def without(self, names: frozenset[str]) -> Offer:
        """The same, but for these tools."""
        left = tuple(each for each in self.tools if each["name"] not in names)
        return replace(self, names=self.names - names, tools=left)

    def format(self) -> Json:
        """The `response_format` that a told answer is held to."""
        most = 1 if self.one else MOST_CALLS
        return answer_format(self.tools, most=most, talks=not self.must, form=self.form)


def must_be_told(info: ModelInfo) -> bool:
    """Whether this model chats, and its template has no place for tools."""
    return "chat" in info.capabilities and "tools" not in info.capabilities


def make_offer(body: dict[str, Any], info: ModelInfo) -> Offer | None:
    """What a chat body offers to this model; the body becomes what is sent. None: there is nothing to read back.

    InvalidRequest names the field that is wrong.
    """
    tools, choice = body.get("tools") or [], body.get("tool_choice") or "auto"
    wanted, must = _chosen(tools, choice)
    if not wanted:
        for name in _FIELDS:
            body.pop(name, None)
        if must_be_told(info) and history_has_tools(body["messages"]):
            body["messages"] = told_messages(body["messages"], None)
        return None
    form = schema_of(body.get("response_format"))
    if must_be_told(info) or (info.holds_schemas and (must or form is not None)):
        return _told(body, wanted, must, form)
    names = frozenset(_name(each, index) for index, each in enumerate(wanted))
    one = body.get("parallel_tool_calls") is False
    return Offer(names, must=must, one=one, form=form, formatted=form is not None)


def _told(body: dict[str, Any], wanted: Sequence[Any], must: bool, form: Any) -> Offer | None:
    functions = tuple(_function(each, index) for index, each in enumerate(wanted))
    messages = body.get("messages") or []
    offer = Offer(
        frozenset(each["name"] for each in functions),
        told=True,
        must=must,
        one=body.get("parallel_tool_calls") is not True,  # a small model goes on calling as long as it may
        form=form,
        formatted=form is not None,
        tools=functions,
        done=frozenset() if must else answered(messages),
    )
    if body.get("n") not in (None, 1):  # several answers cannot be asked for once more, each for itself
        offer = replace(offer.without(frozenset(name for name, _ in offer.done)), done=frozenset())
    for name in _FIELDS:
        body.pop(name, None)
    if not offer.tools:
        body["messages"] = told_messages(messages, None)
        return None
    body["messages"] = told_messages(messages, instructions(offer.tools, required=must, form=form))
    body["response_format"] = offer.format()
    return offer


def _chosen(tools: Sequence[Any], choice: Any) -> tuple[list[Any], bool]:
    """The tools that may be called, and whether one must be."""
    match choice:
        case "none":
            return [], False
        case "auto":
            return list(tools), False
        case "required":
            found = list(tools)
        case {"function": {"name": str(name)}} | {"custom": {"name": str(name)}}:
            found = _named(tools, {name})
        case {"type": "allowed_tools", "allowed_tools": {"tools": list(listed)} as allowed}:
            found = _named(tools, {_name(each, index) for index, each in enumerate(listed)})
            if allowed.get("mode") != "required":
                return found, False
        case _:
            raise _wrong("tool_choice must be none, auto, required, or name a function.")
    if not found:
        raise _wrong("tool_choice requires a call, and there is no tool to call.")
    return found, True


def _named(tools: Sequence[Any], names: set[str]) -> list[Any]:
    found = [each for index, each in enumerate(tools) if _name(each, index) in names]
    if len(found) < len(names):
        known = {_name(each, index) for index, each in enumerate(tools)}
        raise _wrong(f"tool_choice names a tool that was not given: {', '.join(sorted(names - known))}.")
    return found


def _name(tool: Any, index: int) -> str:
    match tool:
        case {"function": {"name": str(name)}} | {"custom": {"name": str(name)}}:
            return name
    raise _nameless(index)


def _function(tool: Any, index: int) -> Json:
    match tool:
        case {"function": {"name": str()} as function}:
            found: Json = function
            return found
        case {"type": str(kind)} if kind != "function":
            text = f"This model takes functions only, no tools of type {kind}."
            raise InvalidRequest(text, param=f"tools[{index}].type", retry=False)
    raise _nameless(index)


def _nameless(index: int) -> InvalidRequest:
    return InvalidRequest("Each tool must have a function with a name.", param=f"tools[{index}].function", retry=False)


def _wrong(text: str) -> InvalidRequest:
    return InvalidRequest(text, param="tool_choice", retry=False)


def concerns_tools(body: Mapping[str, Any]) -> bool:
    """Whether a chat body has anything to do with tools; the answer to any other passes as it is."""
    return bool(body.get("tools") or body.get("tool_choice")) or history_has_tools(body["messages"])
