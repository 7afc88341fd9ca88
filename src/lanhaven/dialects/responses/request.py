"""A Responses request, turned into a chat request. Pure.

Unknown top-level fields (`prompt_cache_key`, `client_metadata`, `include` ...) change nothing here and are ignored;
those that would need what is not here (`background`, `conversation`, `prompt`) are errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from lanhaven.dialects.responses.fields import flag_in, object_in, text_in, unserved, wrong
from lanhaven.dialects.responses.input import items_of, messages_of
from lanhaven.dialects.responses.tools import Toolbox, read_tools
from lanhaven.dialects.tools.schemas import check_schema
from lanhaven.errors import InvalidRequest
from lanhaven.types.models import Overflow

SEALED = "reasoning.encrypted_content"
MAX_METADATA = 16
OVERFLOW: Mapping[str | None, Overflow | None] = MappingProxyType(
    {None: None, "auto": Overflow.DROP_OLDEST, "disabled": Overflow.ERROR}
)
MAX_KEY, MAX_VALUE = 64, 512


@dataclass(slots=True)
class Asked:
    """What a request asks for. `shown`: what the Response object repeats of it. `seal`: the client keeps the thoughts
    itself. `items`: its own input."""

    model: str | None
    stream: bool
    store: bool
    previous: str | None
    items: list[dict[str, Any]]
    tools: Toolbox
    shown: dict[str, Any]
    how: dict[str, Any]  # fields of the chat
    extras: dict[str, Any] = field(default_factory=dict)  # those that only some upstreams know
    seal: bool = False
    overflow: Overflow | None = None  # what becomes of a conversation that is too long; None: not said

    def chat(self, before: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The chat request. `before`: items of the responses that this one goes on from; their instructions do not
        hold any more."""
        messages = messages_of(self.shown["instructions"] or "", [*before, *self.items], len(self.items))
        return {"messages": messages, **self.how}


def read_request(body: dict[str, Any]) -> Asked:
    """What was asked. InvalidRequest or UnsupportedFeature names the field."""
    _refuse_absent(body)
    previous = body.get("previous_response_id")
    if previous is not None:
        previous = text_in(body, "previous_response_id")
    if body.get("input") is None and previous is None and not body.get("instructions"):
        raise InvalidRequest("Missing required parameter: 'input'.", param="input", retry=False)
    tools = read_tools(body)
    how = _how(body)
    if tools.functions:
        how["tools"] = tools.functions
        if body.get("parallel_tool_calls") is not None:  # else as the model's template likes it
            how["parallel_tool_calls"] = flag_in(body, "parallel_tool_calls", default=True)
        if tools.choice is not None:
            how["tool_choice"] = tools.choice
    reasoning = object_in(body, "reasoning")
    effort = reasoning.get("effort")
    extras: dict[str, Any] = {}
    if isinstance(effort, str):
        how["reasoning_effort"] = effort
        extras["chat_template_kwargs"] = {"enable_thinking": effort != "none", "reasoning_effort": effort}
    include = body.get("include")
    return Asked(
        model=text_in(body, "model", empty=True) if body.get("model") is not None else None,
        stream=flag_in(body, "stream", default=False),
        store=flag_in(body, "store", default=True),
        previous=previous,
        items=items_of(body.get("input") or []),
        tools=tools,
        shown=_shown(body, tools, reasoning),
        how=how,
        extras=extras,
        seal=isinstance(include, list) and SEALED in include,
        overflow=OVERFLOW[body.get("truncation")],
    )


def _refuse_absent(body: Mapping[str, Any]) -> None:
    if body.get("background"):
        raise unserved(
            "background",
            "responses in the background are not kept here",
            "stream it, or start a job (docs/api.md)",
        )
    if body.get("conversation") is not None:
        raise unserved("conversation", "conversations are not kept here", "previous_response_id")
    if body.get("prompt") is not None:
        raise unserved("prompt", "prompt templates are not kept here", "instructions")


def _how(body: Mapping[str, Any]) -> dict[str, Any]:
    how: dict[str, Any] = {"stream": False}
    if flag_in(body, "stream", default=False):
        how = {"stream": True, "stream_options": {"include_usage": True}}
    limit = body.get("max_output_tokens")
    if limit is not None:
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            raise wrong("max_output_tokens", "must be a whole number, 1 or more")
        how["max_tokens"] = limit
    for name, highest in (("temperature", 2), ("top_p", 1)):
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= highest:
            raise wrong(name, f"must be a number from 0 to {highest}")
        how[name] = value
    form = _format(object_in(body, "text").get("format"))
    if form is not None:
        how["response_format"] = form
    return how


def _format(form: Any) -> dict[str, Any] | None:
    match form:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return {"type": "json_object"}
        case {"type": "json_schema", "schema": dict(schema)}:
            check_schema(schema, "text.format.schema")
            told = {"name": text_in(form, "name", "text.format"), "schema": schema}
            if isinstance(form.get("strict"), bool):
                told["strict"] = form["strict"]
            return {"type": "json_schema", "json_schema": told}
        case _:
            raise wrong("text.format", "must be text, json_object, or json_schema with a schema")


def _shown(body: Mapping[str, Any], tools: Toolbox, reasoning: Mapping[str, Any]) -> dict[str, Any]:
    instructions = body.get("instructions")
    if instructions is not None and not isinstance(instructions, str):
        raise wrong("instructions", "must be a string")
    text = object_in(body, "text")
    return {
        "background": False,
        "instructions": instructions,
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": None,
        "metadata": _metadata(object_in(body, "metadata")),
        "parallel_tool_calls": flag_in(body, "parallel_tool_calls", default=True),
        "previous_response_id": body.get("previous_response_id"),
        "prompt_cache_key": body.get("prompt_cache_key"),
        "reasoning": {"effort": reasoning.get("effort"), "summary": None},
        "safety_identifier": body.get("safety_identifier"),
        "service_tier": "default",
        "temperature": body.get("temperature"),
        "text": {"format": text.get("format") or {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": tools.shown,
        "top_logprobs": 0,
        "top_p": body.get("top_p"),
        "truncation": _truncation(body.get("truncation")),
        "user": body.get("user"),
    }


def _truncation(asked: Any) -> str:
    if asked not in (None, "auto", "disabled"):
        raise wrong("truncation", "must be auto or disabled")
    return "disabled" if asked is None else str(asked)


def _metadata(given: Mapping[str, Any]) -> Mapping[str, Any]:
    if len(given) > MAX_METADATA:
        raise wrong("metadata", f"may hold at most {MAX_METADATA} pairs")
    for name, value in given.items():
        if len(name) > MAX_KEY or not isinstance(value, str) or len(value) > MAX_VALUE:
            raise wrong(f"metadata.{name}", f"must be a string of at most {MAX_VALUE} characters, its key {MAX_KEY}")
    return given
