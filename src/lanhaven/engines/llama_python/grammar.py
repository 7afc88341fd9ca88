"""Answers that must follow a JSON schema or a grammar: llama.cpp's own sampler says which tokens may come next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import llama_cpp
from llama_cpp import Llama, LlamaGrammar

from lanhaven.engines.serving.bad import BadRequest


class GBNF:
    """Makes the grammars."""

    def __init__(self, llama: Llama) -> None:
        self._vocabulary = llama_cpp.llama_model_get_vocab(llama.model)

    def of_schema(self, schema: Mapping[str, Any]) -> LlamaGrammar:
        """BadRequest: the schema is none, or holds what llama-cpp-python does not know."""
        try:
            grammar = LlamaGrammar.from_json_schema(json.dumps(schema), verbose=False)
        except (ValueError, KeyError, TypeError, AttributeError, AssertionError, RecursionError) as error:
            raise BadRequest(f"The JSON schema cannot be followed: {error}") from None
        return self._checked(grammar, "JSON schema")

    def of_gbnf(self, text: str) -> LlamaGrammar:
        return self._checked(LlamaGrammar.from_string(text, verbose=False), "grammar")

    def _checked(self, grammar: LlamaGrammar, what: str) -> LlamaGrammar:
        """The package reads a grammar when it samples, and takes what it cannot read for none."""
        text = grammar._grammar.encode("utf-8")
        sampler = llama_cpp.llama_sampler_init_grammar(self._vocabulary, text, b"root")
        if not sampler:
            raise BadRequest(f"The {what} cannot be followed: llama.cpp cannot read it")
        llama_cpp.llama_sampler_free(sampler)
        return grammar
