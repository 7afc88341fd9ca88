"""Requests as apps make them, by API. The recorded ones of tests/clients hold the same fields."""

from __future__ import annotations

from typing import Any

from lanhaven.connect.recipe import Place, Probe

FEW = 16  # tokens: enough to see an answer
SAY = "Say hello."
_WHERE = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}


def root() -> Probe:
    """Is anybody there? Ollama's clients and Claude Code ask so."""
    return Probe("the server", "GET", "/")


def openai_models(place: Place) -> Probe:
    """The list that a model is picked from."""
    return Probe("the list of models", "GET", "/v1/models", expect=f'"{place.model}"')


def openai_chat(place: Place, *, tools: bool = False, **fields: Any) -> Probe:
    """A streamed chat."""
    bound = {} if "max_completion_tokens" in fields else {"max_tokens": FEW}
    body: dict[str, Any] = {"model": place.model, "messages": _said(), "stream": True, **bound, **fields}
    if tools:
        body["tools"] = [{"type": "function", "function": {**_read_file(), "parameters": _WHERE}}]
    return Probe("a chat", "POST", "/v1/chat/completions", body, "[DONE]")


def v0_models(place: Place) -> Probe:
    """LM Studio's list, with what each model can do."""
    return Probe("LM Studio's list of models", "GET", "/api/v0/models", expect=f'"{place.model}"')


def v0_chat(place: Place) -> Probe:
    """A streamed chat by LM Studio's REST."""
    body = {"model": place.model, "messages": _said(), "stream": True, "max_tokens": FEW}
    return Probe("a chat", "POST", "/api/v0/chat/completions", body, "[DONE]")


def ollama_version() -> Probe:
    """Some look first whether the server is new enough."""
    return Probe("Ollama's version", "GET", "/api/version", expect='"version"')


def ollama_tags(place: Place) -> Probe:
    """The list that a model is picked from."""
    return Probe("Ollama's list of models", "GET", "/api/tags", expect=f'"{place.model}')


def ollama_show(place: Place, name: str = "model") -> Probe:
    """What the model can do. Some say `name` where Ollama says `model`."""
    return Probe("what the model can do", "POST", "/api/show", {name: place.model}, '"capabilities"')


def ollama_chat(place: Place, *, tools: bool = False, stream: bool = True, **fields: Any) -> Probe:
    """A chat by Ollama's API."""
    body: dict[str, Any] = {"model": place.model, "messages": _said(), "stream": stream, **fields}
    body["options"] = {"num_predict": FEW}
    if tools:
        body["tools"] = [{"type": "function", "function": {**_read_file(), "parameters": _WHERE}}]
    return Probe("a chat", "POST", "/api/chat", body, '"done":true')


def message(place: Place, *, path: str = "/v1/messages", stream: bool = True, tools: bool = False) -> Probe:
    """A message by Anthropic's API."""
    body: dict[str, Any] = {"model": place.model, "max_tokens": FEW, "messages": _said()}
    if stream:
        body["stream"] = True
    if tools:
        body["tools"] = [{**_read_file(), "input_schema": _WHERE}]
    return Probe("a message", "POST", path, body, "message_stop" if stream else '"content"')


def response(place: Place) -> Probe:
    """A streamed response with a tool, as coding agents ask for it."""
    told = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": SAY}]}
    tool = {"type": "function", **_read_file(), "parameters": _WHERE, "strict": False}
    body = {"model": place.model, "stream": True, "input": [told], "tools": [tool], "store": False}
    body |= {"max_output_tokens": FEW}
    # The last event has it, whether complete or cut off; a model that began with a call has written nothing by then.
    return Probe("a response", "POST", "/v1/responses", body, '"output_tokens"')


def _said() -> list[dict[str, str]]:
    return [{"role": "user", "content": SAY}]


def _read_file() -> dict[str, str]:
    return {"name": "read_file", "description": "Read a file."}
