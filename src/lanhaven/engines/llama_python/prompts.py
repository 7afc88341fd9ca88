"""From messages and texts to tokens, by llama.cpp's vocabulary and the template that the GGUF file brings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2.exceptions import TemplateError
from llama_cpp import Llama
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from lanhaven.engines.serving.bad import BadRequest
from lanhaven.engines.serving.prompts import Prompts


class VocabularyPrompts(Prompts):
    """The vocabulary is only read: it may be used while another thread computes."""

    no_pictures = "image input is not supported with llama-cpp-python: use engine xllamacpp, or a llama-server (binary)"
    refusals = (TemplateError, *Prompts.refusals)

    def __init__(self, llama: Llama, template: str | None) -> None:
        """TemplateError: the template is none."""
        self._llama = llama
        self._words = int(llama.n_vocab())
        text = template or llama.metadata.get("tokenizer.chat_template")
        first, last = self._written(llama.token_bos()), self._written(llama.token_eos())
        self._template = Jinja2ChatFormatter(text, eos_token=last, bos_token=first) if text else None

    def _written(self, token: int) -> str:
        return self.decode([token]) if token >= 0 else ""

    @property
    def words(self) -> int:
        return self._words

    def render(self, messages: Sequence[Any], tools: Sequence[Any] | None, *, goes_on: bool, said: Any) -> str:
        if self._template is None:
            raise BadRequest("this model does not support chat: it has no chat template")
        self._template.add_generation_prompt = not goes_on
        text = str(self._template(messages=list(messages), tools=tools, **said).prompt)
        if not goes_on:
            return text
        words = str(messages[-1]["content"]).strip()  # what a template writes after them ends the answer
        return text[: text.rindex(words) + len(words)]

    def encode(self, text: str, *, special: bool) -> list[int]:
        return list(self._llama.tokenize(text.encode("utf-8", "replace"), add_bos=special, special=True))

    def decode(self, tokens: Sequence[int]) -> str:
        return bytes(self._llama.detokenize(list(tokens), special=True)).decode("utf-8", "replace")
