"""From messages and texts to the tokens that the model is asked with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2.exceptions import TemplateError

from lanhaven.engines.mlx.bad import BadRequest

NO_PICTURES = "image input is not supported by the mlx engine: load a GGUF of the model with its projector (llama_cpp)"


class Prompts:
    """Of one model's tokenizer (mlx-lm's), which only the server's thread may use: it is not safe in two at once."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def of_chat(self, body: Mapping[str, Any], tools: Sequence[Any] | None) -> str:
        """The conversation as text. A last message of the assistant is gone on with."""
        messages = [_plain(message) for message in _objects(body.get("messages"), "messages")]
        if not messages:
            raise BadRequest("messages is empty")
        if not self._tokenizer.has_chat_template:
            raise BadRequest("this model does not support chat: it has no chat template")
        said = body.get("chat_template_kwargs")
        goes_on = messages[-1]["role"] == "assistant" and not messages[-1].get("tool_calls")
        try:
            text = self._tokenizer.apply_chat_template(
                messages,
                tools=list(tools) if tools else None,
                tokenize=False,
                add_generation_prompt=not goes_on,
                **({"continue_final_message": True} if goes_on else {}),
                **(said if isinstance(said, dict) else {}),
            )
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise BadRequest(f"The model's chat template refuses these messages: {error}") from None
        return str(text)

    def tokens_of_chat(self, text: str) -> list[int]:
        """A template writes its special tokens itself."""
        return self.encode(text, special=False)

    def of_completion(self, prompt: Any) -> list[list[int]]:
        """A text, a list of tokens, or a list of either."""
        if isinstance(prompt, list) and prompt and not _are_tokens(prompt):
            return [self._one(each) for each in prompt]
        return [self._one(prompt)]

    def _one(self, prompt: Any) -> list[int]:
        if isinstance(prompt, str):
            return self.encode(prompt, special=True)
        if isinstance(prompt, list) and _are_tokens(prompt):
            if not all(0 <= token < len(self._tokenizer) for token in prompt):
                raise BadRequest("prompt has a token that the model does not know")
            return list(prompt)
        raise BadRequest("prompt must be a text, a list of tokens, or a list of these")

    def encode(self, text: str, *, special: bool) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=special))

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def token_text(self, token: int) -> str:
        return self.decode([token])


def _objects(value: Any, name: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise BadRequest(f"{name} must be a list of objects")
    return value


def _are_tokens(values: Sequence[Any]) -> bool:
    return all(type(value) is int for value in values)


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as templates want it: one text, and arguments of calls as objects."""
    told = {**message, "role": str(message.get("role", "user")), "content": _text(message.get("content"))}
    if told["role"] == "developer":
        told["role"] = "system"
    if isinstance(message.get("tool_calls"), list):
        told["tool_calls"] = [_with_object(call) for call in message["tool_calls"]]
    return told


def _text(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    parts = _objects(content, "content")
    if any("text" not in part for part in parts):
        raise BadRequest(NO_PICTURES)
    return "".join(str(part["text"]) for part in parts)


def _with_object(call: Any) -> Any:
    """Arguments travel as a text of JSON; templates write an object as JSON themselves."""
    try:
        function = call["function"]
        return {**call, "function": {**function, "arguments": json.loads(function["arguments"] or "{}")}}
    except (TypeError, KeyError, ValueError):
        return call
