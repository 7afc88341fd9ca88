"""From messages and texts to the tokens that the model is asked with."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from lanhaven.engines.serving.bad import BadRequest


class Prompts(ABC):
    """Of one model's tokenizer, which only the server's thread uses: it may not be safe in two at once.

    no_pictures: what is said to a request with an image. refusals: what a template may raise. words: how many tokens
    the model knows.
    """

    no_pictures = "image input is not supported by this engine"
    refusals: tuple[type[Exception], ...] = (TypeError, ValueError, KeyError)

    @property
    @abstractmethod
    def words(self) -> int: ...

    @abstractmethod
    def render(self, messages: Sequence[Any], tools: Sequence[Any] | None, *, goes_on: bool, said: Any) -> str:
        """What the chat template makes of them. `goes_on`: the last message is to be gone on with; `said`: the
        request's own values for the template. BadRequest, or one of `refusals`, where it refuses."""

    @abstractmethod
    def encode(self, text: str, *, special: bool) -> list[int]: ...

    @abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """With special tokens as what they are written."""

    def of_chat(self, body: Mapping[str, Any], tools: Sequence[Any] | None) -> str:
        """The conversation as text. A last message of the assistant is gone on with."""
        messages = [self._plain(message) for message in objects(body.get("messages"), "messages")]
        if not messages:
            raise BadRequest("messages is empty")
        said = body.get("chat_template_kwargs")
        goes_on = messages[-1]["role"] == "assistant" and not messages[-1].get("tool_calls")
        try:
            return self.render(messages, tools or None, goes_on=goes_on, said=said if isinstance(said, dict) else {})
        except self.refusals as error:
            raise BadRequest(f"The model's chat template refuses these messages: {error}") from None

    async def read(self, text: str, body: Mapping[str, Any]) -> tuple[list[int], Any]:
        """The tokens of what `of_chat` made of `body`, and what its pictures became (None: it has none).

        A template writes its special tokens itself.
        """
        return self.encode(text, special=False), None

    def of_completion(self, prompt: Any) -> list[list[int]]:
        """A text, a list of tokens, or a list of either."""
        if isinstance(prompt, list) and prompt and not _are_tokens(prompt):
            return [self._one(each) for each in prompt]
        return [self._one(prompt)]

    def _one(self, prompt: Any) -> list[int]:
        if isinstance(prompt, str):
            return self.encode(prompt, special=True)
        if isinstance(prompt, list) and _are_tokens(prompt):
            if not all(0 <= token < self.words for token in prompt):
                raise BadRequest("prompt has a token that the model does not know")
            return list(prompt)
        raise BadRequest("prompt must be a text, a list of tokens, or a list of these")

    def token_text(self, token: int) -> str:
        return self.decode([token])

    def _plain(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """A message as templates want it: its content by `content`, and arguments of calls as objects."""
        content = self.content(message.get("content"))
        told = {**message, "role": str(message.get("role", "user")), "content": content}
        if told["role"] == "developer":
            told["role"] = "system"
        if isinstance(message.get("tool_calls"), list):
            told["tool_calls"] = [_with_object(call) for call in message["tool_calls"]]
        return told

    def content(self, content: Any) -> Any:
        """As one text, with which every template can do something."""
        if content is None or isinstance(content, str):
            return content or ""
        parts = objects(content, "content")
        if any("text" not in part for part in parts):
            raise BadRequest(self.no_pictures)
        return "".join(str(part["text"]) for part in parts)


def objects(value: Any, name: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise BadRequest(f"{name} must be a list of objects")
    return value


def _are_tokens(values: Sequence[Any]) -> bool:
    return all(type(value) is int for value in values)


def _with_object(call: Any) -> Any:
    """Arguments travel as a text of JSON; templates write an object as JSON themselves."""
    try:
        function = call["function"]
        return {**call, "function": {**function, "arguments": json.loads(function["arguments"] or "{}")}}
    except (TypeError, KeyError, ValueError):
        return call
