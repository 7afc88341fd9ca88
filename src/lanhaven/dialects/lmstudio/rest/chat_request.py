"""The body of POST /api/v1/chat, read. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lanhaven.dialects.lmstudio.rest.fields import MISSING, flag, required, text, whole
from lanhaven.dialects.openai.fields import check_fields
from lanhaven.errors import InvalidRequest, UnsupportedFeature

MAX_ITEMS = 256
SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repeat_penalty")
EFFORTS = ("low", "medium", "high")
REASONING = frozenset({"off", "on", *EFFORTS})
KNOWN = frozenset(
    {"model", "input", "system_prompt", "integrations", "stream", *SAMPLING, "max_output_tokens", "reasoning"}
    | {"context_length", "store", "previous_response_id"}
)


@dataclass(frozen=True, slots=True)
class ChatAsked:
    """What is asked. user: the content of the new message. sampling: OpenAI's body fields. reasoning: one of REASONING.
    ignored: names of fields that LanHaven does not know."""

    model: str
    user: str | list[dict[str, Any]]
    system: str | None
    sampling: dict[str, Any]
    stream: bool
    store: bool
    previous: str | None
    context_length: int | None
    reasoning: str | None
    ignored: Sequence[str]

    @property
    def has_images(self) -> bool:
        return not isinstance(self.user, str)


def read_chat(body: dict[str, Any]) -> ChatAsked:
    """InvalidRequest names what is wrong, UnsupportedFeature what there is not."""
    _refuse_tools(body)
    sampling = {name: body[name] for name in SAMPLING if body.get(name) is not None}
    check_fields(sampling)
    limit = whole(body, "max_output_tokens", 1 << 30)
    if limit is not None:
        sampling["max_tokens"] = limit
    store = flag(body, "store")
    return ChatAsked(
        model=required(body, "model"),
        user=_content(body.get("input")),
        system=text(body, "system_prompt"),
        sampling=sampling,
        stream=flag(body, "stream") is True,
        store=store is not False,
        previous=text(body, "previous_response_id"),
        context_length=whole(body, "context_length"),
        reasoning=_reasoning(body),
        ignored=sorted(name for name, value in body.items() if name not in KNOWN and value is not None),
    )


def _refuse_tools(body: dict[str, Any]) -> None:
    for name, hint in (("integrations", "leave integrations out"), ("tools", "/v1/chat/completions takes tools")):
        if body.get(name):
            message = f"{name} are not implemented: LanHaven calls no tools by itself."
            raise UnsupportedFeature(message, param=name, hint=hint, retry=False)


def _reasoning(body: dict[str, Any]) -> str | None:
    value = text(body, "reasoning")
    if value is not None and value not in REASONING:
        told = f"reasoning must be one of {', '.join(sorted(REASONING))}."
        raise InvalidRequest(told, param="reasoning", retry=False)
    return value


def _content(given: Any) -> str | list[dict[str, Any]]:
    """A string; with images OpenAI's parts in their order."""
    if given is None:
        raise InvalidRequest("input is required.", param="input", retry=False, facts={"code": MISSING})
    if isinstance(given, str):
        return given
    if not isinstance(given, list) or not 0 < len(given) <= MAX_ITEMS:
        told = f"input must be a string or a list of 1 to {MAX_ITEMS} items."
        raise InvalidRequest(told, param="input", retry=False)
    parts = [_part(item, f"input[{index}]") for index, item in enumerate(given)]
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _part(item: Any, place: str) -> dict[str, Any]:
    """The manual says `message`, its own example `text`; both are read."""
    match item:
        case {"type": "message" | "text", "content": str(content)}:
            return {"type": "text", "text": content}
        case {"type": "image", "data_url": str(url)}:
            if not url.startswith("data:"):  # of that name; and the model is not loaded for nothing
                told = "data_url must be a data: URI with an image."
                raise InvalidRequest(told, param=f"{place}.data_url", retry=False)
            return {"type": "image_url", "image_url": {"url": url}}
        case _:
            raise InvalidRequest(
                "An item of input is {type: message, content} or {type: image, data_url}.", param=place, retry=False
            )
