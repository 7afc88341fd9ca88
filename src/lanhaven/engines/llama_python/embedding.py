"""Embeddings, one request after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from llama_cpp import Llama

from lanhaven.engines.serving.bad import BadRequest
from lanhaven.engines.serving.embeddings import listed


class Embedder:
    """Answers /v1/embeddings. Computes in a thread of its own: one text at a time is all that the engine can."""

    def __init__(self, llama: Llama, alias: str) -> None:
        self._llama, self._alias = llama, alias
        self._turn = asyncio.Lock()

    async def __call__(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        texts = self._texts(body.get("input"))
        async with self._turn:
            vectors, tokens = await asyncio.to_thread(self._embed, texts)
        return listed(self._alias, vectors, tokens, body)

    def _texts(self, value: Any) -> list[str]:
        values = value if isinstance(value, list) and not _are_tokens(value) else [value]
        return [self._text(each) for each in values]

    def _text(self, value: Any) -> str:
        text = self._llama.detokenize(value).decode("utf-8", "replace") if _are_tokens(value) else value
        if not isinstance(text, str):
            raise BadRequest("input must be a text, a list of tokens, or a list of these")
        size = len(self._llama.tokenize(text.encode("utf-8", "replace")))
        if size > self._llama.n_batch:
            most = self._llama.n_batch
            raise BadRequest(f"input ({size} tokens) is too large to process (current batch size: {most})", 500)
        return text

    def _embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        vectors, tokens = self._llama.embed(list(texts), normalize=True, truncate=False, return_count=True)
        return vectors, tokens


def _are_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(each) is int for each in value)
