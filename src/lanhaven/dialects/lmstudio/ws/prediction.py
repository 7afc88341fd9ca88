"""What a client wants predicted: LM Studio's history and prediction config, read into an OpenAI request. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lanhaven.dialects.lmstudio.ws.settings import Settings, collapsed, fields_of, read_settings
from lanhaven.errors import InvalidRequest
from lanhaven.lmstudio.load_values import rows, table
from lanhaven.types.chat import Route
from lanhaven.wire import encode

MAX_MESSAGES = 4096
Ids = OrderedDict[str, None]
ImageOf = Callable[[str], str]  # identifier of an uploaded image -> its data URI; raises for what cannot be shown


@dataclass(frozen=True, slots=True)
class Prediction:
    """One prediction, ready to be sent to an instance. config: the KVConfig that is told back with the answer."""

    route: Route
    body: dict[str, Any]
    settings: Settings
    config: dict[str, Any]


def read_prediction(parameter: Any, image_of: ImageOf) -> Prediction:
    """From the creation parameter of `predict`. InvalidRequest names what is wrong."""
    said = table(parameter, "creationParameter")
    values, raw = collapsed(said.get("predictionConfigStack"))
    settings = read_settings(values, raw=raw)
    if settings.raw:
        return _completion(text_of_history(said.get("history")), settings, values)
    messages = read_history(said.get("history"), image_of, settings.system)
    body = {"messages": messages, **settings.body, "stream": True}
    return Prediction(Route.CHAT, body, settings, fields_of(values))


def read_completion(parameter: Any) -> Prediction:
    """From the creation parameter of `completeRawText`."""
    said = table(parameter, "creationParameter")
    prompt = said.get("rawPrompt")
    if not isinstance(prompt, str):
        raise InvalidRequest("rawPrompt must be a string.", param="rawPrompt", retry=False)
    values, _ = collapsed(said.get("predictionConfigStack"))
    return _completion(prompt, read_settings(values, raw=True), values)


def _completion(prompt: str, settings: Settings, values: dict[str, Any]) -> Prediction:
    body = {"prompt": prompt, **settings.body, "stream": True}
    return Prediction(Route.COMPLETION, body, settings, fields_of(values))


def text_of_history(history: Any) -> str:
    """All texts, one behind the other: the prompt of a raw completion."""
    messages = _messages(history)
    return "".join(text for _, parts in messages for text in _texts(parts))


def read_history(history: Any, image_of: ImageOf, system: str | None = None) -> list[dict[str, Any]]:
    """OpenAI messages. `system`: put in front of a history that has no system message of its own."""
    messages: list[dict[str, Any]] = []
    unanswered: Ids = OrderedDict()  # of calls, for results that do not say whose they are
    for role, parts in _messages(history):
        match role:
            case "system" | "user":
                messages.append({"role": role, "content": _content(parts, image_of)})
            case "assistant":
                messages.append(_assistant(parts, unanswered, len(messages)))
            case "tool":
                messages += (_result(part, unanswered) for part in parts)
            case _:
                raise InvalidRequest(f"There is no role {role!r}.", param="history", retry=False)
    if system is not None and not any(each["role"] == "system" for each in messages):
        messages.insert(0, {"role": "system", "content": system})
    return messages


def _messages(history: Any) -> list[tuple[str, Sequence[Any]]]:
    given = rows(table(history, "history").get("messages"), "history.messages")
    if not given or len(given) > MAX_MESSAGES:
        raise InvalidRequest(
            f"history must hold from one to {MAX_MESSAGES} messages.", param="history.messages", retry=False
        )
    found = []
    for each in given:
        message = table(each, "history.messages")
        found.append((str(message.get("role")), rows(message.get("content"), "history.messages.content")))
    return found


def _texts(parts: Sequence[Any]) -> Iterator[str]:
    for part in parts:
        match part:
            case {"type": "text", "text": str(text)}:
                yield text


def _content(parts: Sequence[Any], image_of: ImageOf) -> str | list[dict[str, Any]]:
    """A string, or, with images, a list of OpenAI's parts in their order."""
    content = [_part(each, image_of) for each in parts]
    if all(each["type"] == "text" for each in content):
        return "".join(each["text"] for each in content)
    return content


def _part(part: Any, image_of: ImageOf) -> dict[str, Any]:
    match part:
        case {"type": "text", "text": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "file", "identifier": str(identifier)}:
            return {"type": "image_url", "image_url": {"url": image_of(identifier)}}
        case _:
            raise _unreadable("text or a file")


def _assistant(parts: Sequence[Any], unanswered: Ids, position: int) -> dict[str, Any]:
    calls: list[dict[str, Any]] = []
    for part in parts:
        match part:
            case {"type": "text" | "file"}:
                pass  # a file that an assistant made is nothing that it said
            case {"type": "toolCallRequest", "toolCallRequest": {"name": str(name)} as request}:
                known = request.get("id")
                call_id = known if isinstance(known, str) and known else f"call_{position}_{len(calls)}"
                unanswered[call_id] = None
                arguments = encode(request.get("arguments") or {}).decode()
                calls.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}})
            case _:
                raise _unreadable("text, a file or a toolCallRequest")
    text = "".join(_texts(parts))
    if not calls:
        return {"role": "assistant", "content": text}
    return {"role": "assistant", "content": text or None, "tool_calls": calls}


def _result(part: Any, unanswered: Ids) -> dict[str, Any]:
    match part:
        case {"type": "toolCallResult", "content": str(content)}:
            call_id = part.get("toolCallId")
        case _:
            raise _unreadable("a toolCallResult")
    if isinstance(call_id, str) and call_id:
        unanswered.pop(call_id, None)
    else:
        call_id = unanswered.popitem(last=False)[0] if unanswered else "call"
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def _unreadable(wanted: str) -> InvalidRequest:
    return InvalidRequest(f"A part of a message must be {wanted}.", param="history.messages.content", retry=False)
