"""Answers that must follow a JSON schema or a grammar: llguidance says which tokens may come next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import mlx.core as mx

from lanhaven.engines.mlx.sampling import Processor
from lanhaven.engines.serving.bad import BadRequest

REMEDY = "pip install 'lanhaven[mlx]' (it brings llguidance)"
# One space or line break at most between two signs: a small model left alone writes white space until it is stopped.
WHITESPACE = r"[ \n]?"
_BITS = 32


class TokenGrammars:
    """Makes the processors. The tokenizer's tables are made when first needed: that takes half a second."""

    def __init__(self, tokenizer: Any, ends: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._ends = ends

    @cached_property
    def _tables(self) -> Any:
        try:
            import llguidance.hf
        except ImportError:
            raise BadRequest(f"Structured output needs llguidance, which is not installed: {REMEDY}", 501) from None
        try:
            return llguidance.hf.from_tokenizer(self._tokenizer, eos_token=sorted(self._ends))
        except ValueError as error:
            raise BadRequest(f"Structured output is not to be had with this model's tokenizer: {error}", 501) from None

    def of_schema(self, schema: Mapping[str, Any]) -> Processor:
        """BadRequest: the schema is none, or holds what llguidance does not know."""
        tables = self._tables
        from llguidance import LLMatcher

        try:
            options = {"whitespace_flexible": True, "whitespace_pattern": WHITESPACE}
            grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema), defaults=options)
        except ValueError as error:
            raise BadRequest(f"The JSON schema cannot be followed: {error}") from None
        return self._processor(tables, grammar, "JSON schema")

    def of_gbnf(self, text: str) -> Processor:
        """A grammar in llama.cpp's notation."""
        tables = self._tables
        from llguidance.gbnf_to_lark import GbnfToLarkError, any_to_lark

        try:
            grammar = any_to_lark(text)
        except GbnfToLarkError as error:
            raise BadRequest(f"The grammar cannot be read: {error}") from None
        return self._processor(tables, grammar, "grammar")

    def _processor(self, tables: Any, grammar: str, what: str) -> Processor:
        from llguidance import LLMatcher

        matcher = LLMatcher(tables, grammar)
        if matcher.is_error():
            raise BadRequest(f"The {what} cannot be followed: {matcher.get_error()}")
        return _Bound(matcher, mx.array(sorted(self._ends)))


class _Bound:
    """Follows one answer: takes in each token that was chosen, and rules out what may not come next."""

    def __init__(self, matcher: Any, ends: Any) -> None:
        self._matcher = matcher
        self._ends = ends
        self._seen: int | None = None  # tokens of the context that were taken in, the prompt counted

    def __call__(self, context: Any, logits: Any) -> Any:
        if self._seen is not None and len(context) > self._seen and not self._matcher.is_stopped():
            self._matcher.consume_tokens(context[self._seen :].tolist())
        self._seen = len(context)
        if self._matcher.is_error():  # it has given up: so does the answer, and not the others of the batch
            only_ends = mx.full(logits.shape, -mx.inf, logits.dtype)
            only_ends[:, self._ends] = 0
            return only_ends
        words = mx.array(memoryview(self._matcher.compute_bitmask()).cast("I"))
        allowed = ((words[:, None] >> mx.arange(_BITS, dtype=mx.uint32)) & 1).reshape(-1).astype(mx.bool_)
        width = logits.shape[-1]
        if allowed.size < width:  # rows that fill the model's vocabulary up, which stand for no token
            allowed = mx.concatenate([allowed, mx.zeros(width - allowed.size, dtype=mx.bool_)])
        return mx.where(allowed[:width], logits, -mx.inf)
