"""A Messages request, turned into an OpenAI chat request. Pure.

Both versions of the API are read alike: 2026-10-21 refuses sampling fields, but an older client that sends them means
them. Unknown top-level fields (betas) are ignored, as Anthropic's own gateways advise; unknown content is not: a model
that never saw a part of the prompt would answer something else than was asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from lanhaven.dialects.tools.schemas import check_amount, check_schema
from lanhaven.errors import InvalidRequest, UnsupportedFeature
from lanhaven.wire import encode

MAX_MESSAGES = 100_000  # Anthropic's own limit
# Claude Code's first block of the system prompt. It says who pays, to nobody here; its number is another in every
# conversation, and so no conversation would find the 70 kB of tools and rules in the cache that the last one had read.
BILLING = "x-anthropic-billing-header:"
EFFORTS = frozenset({"low", "medium", "high"})  # what OpenAI's servers know; Anthropic has more above


@dataclass(frozen=True, slots=True)
class Asked:
    """What the translator of the reply has to know."""

    model: str  # as the client wrote it
    stream: bool
    prefill: str  # the text the answer begins with already
    stop: tuple[str, ...]
    warm_up: bool  # max_tokens 0: only fill the prompt cache


def read_request(body: dict[str, Any], *, counting: bool = False) -> tuple[dict[str, Any], Asked]:
    """OpenAI's body, and what was asked. `counting`: max_tokens is not needed. InvalidRequest names the field."""
    model = _text(body, "model")
    chat: dict[str, Any] = {"model": model, "messages": messages_of(body)}
    limit = body.get("max_tokens")
    if not counting:
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
            _refuse("max_tokens", "Field required" if limit is None else "must be a whole number, 0 or more")
        chat["max_tokens"] = max(1, limit)
    stop = _stop(body)
    _copy_sampling(body, chat)
    if stop:
        chat["stop"] = list(stop)
    _add_tools(body, chat)
    _add_output(body, chat)
    stream = body.get("stream", False)
    if not isinstance(stream, bool):
        _refuse("stream", "must be true or false")
    return chat, Asked(model, stream, _prefill(chat["messages"]), stop, limit == 0)


def extras_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """What only some upstreams know: whether to think, and which stop string ended the reply."""
    extras: dict[str, Any] = {}
    match body.get("thinking"):
        case {"type": "enabled" | "adaptive" | "disabled" as kind}:
            extras["chat_template_kwargs"] = {"enable_thinking": kind != "disabled"}
    if body.get("stop_sequences"):
        extras["verbose"] = True  # llama.cpp names the stop string in its verbose part only
    return extras


def conversation_of(body: Mapping[str, Any]) -> str | None:
    """Who asks: conversations of one user are served by one instance, where nothing tells them apart."""
    match body.get("metadata"):
        case {"user_id": str(user)} if user:
            return user
        case _:
            return None


def messages_of(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`system` and `messages` as OpenAI messages; turns of the same role in a row are one turn, as at Anthropic."""
    given = body.get("messages")
    if not isinstance(given, list) or not given:
        _refuse("messages", "must be a list with at least one message")
    if len(given) > MAX_MESSAGES:
        _refuse("messages", f"may hold at most {MAX_MESSAGES} messages")
    messages = _system(body.get("system"))
    for index, message in enumerate(given):
        where = f"messages.{index}"
        if not isinstance(message, dict):
            _refuse(where, "must be an object")
        match message.get("role"):
            case "user":
                _add_user(messages, _blocks(message, where), where)
            case "assistant":
                _add_assistant(messages, _blocks(message, where), where)
            case "system":
                _add_system(messages, _plain(message.get("content"), f"{where}.content"), where)
            case _:
                _refuse(f"{where}.role", "must be user or assistant")
    if not messages or messages[-1]["role"] == "system":
        _refuse("messages", "must hold something that a user said")
    for message in messages:
        if message["role"] in ("system", "user") and all(part["type"] == "text" for part in message["content"]):
            message["content"] = "\n\n".join(part["text"] for part in message["content"])
    return messages


def _system(system: Any) -> list[dict[str, Any]]:
    if isinstance(system, list) and system and isinstance(system[0], dict):
        first = system[0].get("text")
        system = system[isinstance(first, str) and first.startswith(BILLING) :]
    if system is None or system == "" or system == []:
        return []
    return [_of("system", [_plain(system, "system")])]


def _of(role: str, texts: Sequence[str]) -> dict[str, Any]:
    """A message in parts, to be joined when all are there: one by one would take the square of the time."""
    return {"role": role, "content": [{"type": "text", "text": text} for text in texts]}


def _plain(content: Any, where: str) -> str:
    """The text of a string, or of a list of text blocks."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        _refuse(where, "must be a string or a list of blocks")
    return "\n\n".join(_text_block(block, f"{where}.{index}") for index, block in enumerate(content))


def _text_block(block: Any, where: str) -> str:
    if not isinstance(block, dict) or block.get("type") != "text":
        _refuse(where, "must be a text block")
    return _text(block, "text", f"{where}.text")


def _blocks(message: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        _refuse(f"{where}.content", "must be a string or a list of blocks")
    for index, block in enumerate(content):
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            _refuse(f"{where}.content.{index}", "must be a block with a type")
    return content


# ---- what the operator and the user say


def _add_system(messages: list[dict[str, Any]], text: str, where: str) -> None:
    """Within a conversation (Claude Code's lists of agents and skills) it becomes the user's, in the words that models
    know for it: many chat templates refuse a system message that is not the first, and moved to the front it would
    change the prompt that the cache holds."""
    if not messages:
        messages.append(_of("system", [text]))
    elif messages[-1]["role"] == "system":
        messages[-1]["content"].append({"type": "text", "text": text})
    else:
        _add_user(messages, [{"type": "text", "text": f"<system-reminder>\n{text}\n</system-reminder>"}], where)


def _add_user(messages: list[dict[str, Any]], blocks: Sequence[dict[str, Any]], where: str) -> None:
    """Results of tools come first, as messages of their own; pictures in a result follow as the user's, because a tool
    message may hold text only."""
    parts: list[dict[str, Any]] = []
    for index, block in enumerate(blocks):
        at = f"{where}.content.{index}"
        if block["type"] == "tool_result":
            text, pictures = _tool_result(block, at)
            messages.append({"role": "tool", "tool_call_id": _text(block, "tool_use_id", at), "content": text})
            parts += pictures
        else:
            parts += _parts(block, at)
    if not parts:
        return
    if messages and messages[-1]["role"] == "user":
        messages[-1]["content"] += parts
    else:
        messages.append({"role": "user", "content": parts})


def _tool_result(block: Mapping[str, Any], where: str) -> tuple[str, list[dict[str, Any]]]:
    content = block.get("content", "")
    inner = _blocks({"content": "" if content is None else content}, where)
    parts = [part for index, each in enumerate(inner) for part in _parts(each, f"{where}.content.{index}")]
    text = "\n\n".join(part["text"] for part in parts if part["type"] == "text")
    return f"Error: {text}" if block.get("is_error") is True else text, [p for p in parts if p["type"] != "text"]


def _parts(block: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """A block of content as OpenAI content parts."""
    parts: list[dict[str, Any]]
    match block["type"]:
        case "text":
            parts = [{"type": "text", "text": _text(block, "text", where)}]
        case "image":
            parts = [{"type": "image_url", "image_url": {"url": _data_uri(block.get("source"), where)}}]
        case "document":
            parts = _document(block, where)
        case "search_result":
            parts = [{"type": "text", "text": _plain(block.get("content"), f"{where}.content")}]
        case kind:
            _refuse(where, f"content of type {kind} cannot be read here")
    return parts


def _data_uri(source: Any, where: str) -> str:
    match source:
        case {"type": "base64", "media_type": str(kind), "data": str(data)}:
            uri = f"data:{kind};base64,{data}"
        case {"type": "url", "url": str(uri)}:
            pass  # fetched or refused with the images of all dialects
        case _:
            _refuse(f"{where}.source", "must be a base64 source with media_type and data, or a url")
    return uri


def _document(block: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    title = block.get("title")
    head = [{"type": "text", "text": title}] if isinstance(title, str) and title else []
    match block.get("source"):
        case {"type": "text", "data": str(text)}:
            return [*head, {"type": "text", "text": text}]
        case {"type": "content", "content": content}:
            inner = _blocks({"content": content}, where)
            return [*head, *(part for index, each in enumerate(inner) for part in _parts(each, f"{where}.{index}"))]
        case _:
            raise UnsupportedFeature(
                f"{where}.source: only documents of plain text can be read here.", param=f"{where}.source", retry=False
            )


# ---- what the assistant said


def _add_assistant(messages: list[dict[str, Any]], blocks: Sequence[dict[str, Any]], where: str) -> None:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    for index, block in enumerate(blocks):
        at = f"{where}.content.{index}"
        match block["type"]:
            case "text":
                texts.append(_text(block, "text", at))
            case "thinking":
                thoughts.append(_text(block, "thinking", at))
            case "redacted_thinking":
                pass  # sealed for Anthropic's own models
            case "tool_use":
                calls.append(_call(block, at))
            case kind:
                _refuse(at, f"content of type {kind} cannot be read here")
    said: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
    if thoughts:
        said["reasoning_content"] = "\n\n".join(thoughts)
    if calls:
        said["tool_calls"] = calls
        said["content"] = said["content"] or None
    messages.append(said)


def _call(block: Mapping[str, Any], where: str) -> dict[str, Any]:
    given = block.get("input", {})
    if not isinstance(given, dict):
        _refuse(f"{where}.input", "must be an object")
    function = {"name": _text(block, "name", where), "arguments": encode(given).decode()}
    return {"id": _text(block, "id", where), "type": "function", "function": function}


def _prefill(messages: Sequence[Mapping[str, Any]]) -> str:
    last = messages[-1]
    content = last.get("content") if last["role"] == "assistant" and "tool_calls" not in last else None
    return content if isinstance(content, str) else ""


# ---- how to answer


def _copy_sampling(body: Mapping[str, Any], chat: dict[str, Any]) -> None:
    for name in ("temperature", "top_p", "top_k"):
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            _refuse(name, "must be a number, 0 or more")
        chat[name] = value


def _stop(body: Mapping[str, Any]) -> tuple[str, ...]:
    given = body.get("stop_sequences")
    if given is None:
        return ()
    if not isinstance(given, list) or not all(isinstance(each, str) and each for each in given):
        _refuse("stop_sequences", "must be a list of strings that are not empty")
    return tuple(given)


def _add_tools(body: Mapping[str, Any], chat: dict[str, Any]) -> None:
    tools = body.get("tools")
    if tools is not None:
        if not isinstance(tools, list):
            _refuse("tools", "must be a list")
        check_amount(tools, "tools")
        if tools:
            chat["tools"] = [_tool(tool, f"tools.{index}") for index, tool in enumerate(tools)]
    choice = body.get("tool_choice")
    if choice is None:
        return
    match choice:
        case {"type": "auto" | "none" as kind}:
            chat["tool_choice"] = kind
        case {"type": "any"}:
            chat["tool_choice"] = "required"
        case {"type": "tool", "name": str(name)}:
            chat["tool_choice"] = {"type": "function", "function": {"name": name}}
        case _:
            _refuse("tool_choice", "must be of type auto, any, none, or tool with a name")
    if choice.get("disable_parallel_tool_use") is True:
        chat["parallel_tool_calls"] = False


def _tool(tool: Any, where: str) -> dict[str, Any]:
    if not isinstance(tool, dict):
        _refuse(where, "must be an object")
    if tool.get("type", "custom") not in ("custom", None):
        raise UnsupportedFeature(
            f"{where}: tools of type {tool['type']} run at Anthropic; only custom tools can be used here.",
            param=where,
            retry=False,
        )
    function: dict[str, Any] = {"name": _text(tool, "name", where)}
    if isinstance(tool.get("description"), str):
        function["description"] = tool["description"]
    schema = tool.get("input_schema", {"type": "object"})
    if not isinstance(schema, dict):
        _refuse(f"{where}.input_schema", "must be a JSON schema")
    check_schema(schema, f"{where}.input_schema")
    return {"type": "function", "function": function | {"parameters": schema}}


def _add_output(body: Mapping[str, Any], chat: dict[str, Any]) -> None:
    output = body.get("output_config")
    if not isinstance(output, dict):
        return
    if isinstance(output.get("effort"), str):
        chat["reasoning_effort"] = output["effort"] if output["effort"] in EFFORTS else "high"
    match output.get("format"):
        case None:
            return
        case {"type": "json_schema", "schema": dict(schema)}:
            check_schema(schema, "output_config.format.schema")
            chat["response_format"] = {"type": "json_schema", "json_schema": {"name": "output", "schema": schema}}
        case _:
            _refuse("output_config.format", "must be a json_schema with a schema")


def _text(value: Mapping[str, Any], name: str, where: str = "") -> str:
    text = value.get(name)
    if not isinstance(text, str) or (not where and not text):
        _refuse(f"{where}.{name}" if where else name, "Field required" if text is None else "must be a string")
    return text


def _refuse(where: str, why: str) -> NoReturn:
    """Worded as Anthropic words it: clients match on it."""
    raise InvalidRequest(f"{where}: {why}", param=where, retry=False)
