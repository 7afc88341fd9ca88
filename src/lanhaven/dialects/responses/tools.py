"""The tools of a Responses request, turned into functions of a chat. Pure.

| tool | here |
| --- | --- |
| function | a function |
| namespace (Codex's sub-agents, MCP servers) | its functions, told as NAMESPACE__NAME; a call has both names again |
| custom | a function with one string, `input`; a grammar is told in words, nothing enforces it |
| what runs at OpenAI (web_search ...) | 501; beside tools of the client's own it is left out, and named in a header |

Codex declares web_search in every request, beside tools of its own: refusing all of it would lock Codex out, and a
model that has not heard of a tool does not call it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lanhaven.dialects.responses.fields import list_in, text_in, unserved, wrong
from lanhaven.dialects.tools.schemas import check_amount, check_schema
from lanhaven.wire import encode

_KIND = re.compile("[a-z0-9_.-]{1,40}")  # it is told in a header
_INPUT = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Tool:
    """What the client calls a function that the model knows by another name."""

    name: str
    namespace: str | None = None
    custom: bool = False


@dataclass(slots=True)
class Toolbox:
    """`functions`: as a chat has them. `names`: by the name that the model knows. `shown`: as the client wrote them.
    `left_out`: place and type of those that run at OpenAI. `choice`: the chat's tool_choice."""

    functions: list[dict[str, Any]] = field(default_factory=list)
    names: dict[str, Tool] = field(default_factory=dict)
    shown: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    choice: str | None = None

    def called(self, name: str) -> Tool:
        """The tool behind the name that a model gave; one that nobody offered keeps it."""
        return self.names.get(name) or Tool(name)

    def add(self, tool: Mapping[str, Any], where: str, namespace: str | None = None) -> None:
        """One more function. InvalidRequest names the field that is wrong."""
        name = text_in(tool, "name", where)
        told = told_name(namespace, name)
        if told in self.names:
            raise wrong(f"{where}.name", f"two tools have the name {told}")
        custom = tool["type"] == "custom"
        self.names[told] = Tool(name, namespace, custom)
        function = {"name": told, **(_custom(tool) if custom else _function(tool, where))}
        self.functions.append({"type": "function", "function": function})

    def keep(self, names: set[str]) -> None:
        """Offer only these."""
        self.functions = [each for each in self.functions if each["function"]["name"] in names]


def told_name(namespace: str | None, name: str) -> str:
    """The one name by which a model knows a tool."""
    return f"{namespace}__{name}" if namespace else name


def read_tools(body: Mapping[str, Any]) -> Toolbox:
    """`tools` and `tool_choice`. InvalidRequest or UnsupportedFeature names the field."""
    box = Toolbox()
    given = list_in(body, "tools")
    check_amount(given, "tools")
    for index, tool in enumerate(given):
        where = f"tools[{index}]"
        match tool.get("type"):
            case "function" | "custom":
                box.add(tool, where)
            case "namespace":
                _add_namespace(box, tool, where)
            case str(kind) if _KIND.fullmatch(kind):
                box.left_out.append(f"{where} {kind}")
                continue
            case _:
                raise wrong(f"{where}.type", "must be the name of a type")
        box.shown.append(tool)
    if box.left_out and not box.functions:
        raise unserved("tools", f"{', '.join(box.left_out)} runs at OpenAI; only functions and custom tools work here")
    _choose(box, body.get("tool_choice"))
    return box


def _add_namespace(box: Toolbox, space: Mapping[str, Any], where: str) -> None:
    name = text_in(space, "name", where)
    for index, tool in enumerate(list_in(space, "tools", where)):
        at = f"{where}.tools[{index}]"
        if tool.get("type") not in ("function", "custom"):
            raise wrong(f"{at}.type", "must be function or custom")
        box.add(tool, at, name)


def _function(tool: Mapping[str, Any], where: str) -> dict[str, Any]:
    parameters = tool.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise wrong(f"{where}.parameters", "must be a JSON schema")
    if parameters is not None:
        check_schema(parameters, f"{where}.parameters")
    told: dict[str, Any] = {"parameters": parameters or {"type": "object", "properties": {}}}
    if isinstance(tool.get("description"), str):
        told["description"] = tool["description"]
    if isinstance(tool.get("strict"), bool):
        told["strict"] = tool["strict"]
    return told


def _custom(tool: Mapping[str, Any]) -> dict[str, Any]:
    description = tool["description"] if isinstance(tool.get("description"), str) else ""
    form = tool.get("format")
    if isinstance(form, dict) and isinstance(form.get("definition"), str):
        description += f"\nThe input must fit this {form.get('syntax', '')} grammar:\n{form['definition']}"
    return {"description": description.strip(), "parameters": _INPUT}


def _choose(box: Toolbox, choice: Any) -> None:
    """One named tool is offered alone and required: llama.cpp knows words here only."""
    match choice:
        case None:
            return
        case "auto" | "none":
            box.choice = choice
        case "required":
            _require(box)
        case {"type": "function" | "custom", "name": str(name)}:
            space = choice.get("namespace")
            _offer(box, {told_name(space if isinstance(space, str) else None, name)})
            _require(box)
        case {"type": "allowed_tools", "tools": list(tools)}:
            _offer(box, {_named(each, f"tool_choice.tools[{index}]") for index, each in enumerate(tools)})
            if choice.get("mode") == "required":
                _require(box)
        case {"type": str(kind)} if kind not in ("function", "custom", "allowed_tools"):
            raise unserved(
                "tool_choice", f"tools of type {kind} run at OpenAI; only functions and custom tools work here"
            )
        case _:
            raise wrong("tool_choice", "must be auto, none, required, or name a tool")


def _named(tool: Any, where: str) -> str:
    match tool:
        case {"type": "function" | "custom", "name": str(name)}:
            return name
        case _:
            raise wrong(where, "must be a function or custom tool with a name")


def _offer(box: Toolbox, names: set[str]) -> None:
    unknown = sorted(names - box.names.keys())
    if unknown:
        raise wrong("tool_choice", f"no such tool: {', '.join(unknown)}")
    box.keep(names)


def _require(box: Toolbox) -> None:
    if not box.functions:
        raise wrong("tool_choice", "there are no tools to call")
    box.choice = "required"


def custom_arguments(text: str) -> str:
    """The input of a custom tool, as arguments of the function that stands for it."""
    return encode({"input": text}).decode()
