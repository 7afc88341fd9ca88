"""From messages and texts to tokens, by mlx-lm's tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2.exceptions import TemplateError

from lanhaven.engines.serving.bad import BadRequest
from lanhaven.engines.serving.prompts import Prompts


class TokenizerPrompts(Prompts):
    no_pictures = (
        "image input is not supported by the mlx engine: load a GGUF of the model with its projector (llama_cpp)"
    )
    refusals = (TemplateError, *Prompts.refusals)

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    @property
    def words(self) -> int:
        return len(self._tokenizer)

    def render(self, messages: Sequence[Any], tools: Sequence[Any] | None, *, goes_on: bool, said: Any) -> str:
        if not self._tokenizer.has_chat_template:
            raise BadRequest("this model does not support chat: it has no chat template")
        text = self._tokenizer.apply_chat_template(
            messages,
            tools=list(tools) if tools else None,
            tokenize=False,
            add_generation_prompt=not goes_on,
            **({"continue_final_message": True} if goes_on else {}),
            **said,
        )
        return str(text)

    def encode(self, text: str, *, special: bool) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=special))

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False))
