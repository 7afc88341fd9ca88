"""A loaded model's answers to requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from lanhaven.engines.serving.asks import Ask, Grammars, read_ask
from lanhaven.engines.serving.bad import BadRequest
from lanhaven.engines.serving.choice import Choice
from lanhaven.engines.serving.replying import Model, Reply
from lanhaven.engines.serving.speech import TOOL

Embed = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


class Service:
    """`engine`: its name, for the list of models. `defaults`: how a silent request is answered. `embed` None: the
    model makes no embeddings. `writes` False: it makes nothing else."""

    def __init__(
        self,
        engine: str,
        model: Model,
        defaults: Choice,
        grammars: Grammars,
        embed: Embed | None = None,
        *,
        writes: bool = True,
    ) -> None:
        self.engine = engine
        self.model = model
        self._defaults = defaults
        self._grammars = grammars
        self._embed = embed
        self._writes = writes

    async def reply(self, body: Mapping[str, Any], *, chat: bool) -> tuple[Ask, Reply]:
        if not self._writes:
            raise BadRequest("this model makes embeddings, and no texts", 501)
        marks, prompts = self.model.marks, self.model.prompts
        ask = read_ask(
            body,
            chat=chat,
            defaults=self._defaults,
            grammars=self._grammars,
            can_call=marks.opening is not None,
        )
        if not chat:
            return ask, Reply(self.model, ask, prompts.of_completion(body.get("prompt")), "")
        text = prompts.of_chat(body, ask.tools)
        if not ask.force or marks.opening is None:
            tokens, sight = await prompts.read(text, body)
            return ask, Reply(self.model, ask, [tokens], marks.state_after(tokens), sight)
        # The answer begins within a call, and if the form of calls is JSON it stays there.
        ask = self._bound_to_call(ask)
        tokens, sight = await prompts.read(text + marks.opening, body)
        return ask, Reply(self.model, ask, [tokens], TOOL, sight)

    def _bound_to_call(self, ask: Ask) -> Ask:
        if ask.bind is not None or not self.model.marks.json_calls:
            return ask
        schema = {"anyOf": [_call_schema(tool) for tool in ask.tools or ()]}
        self._grammars.of_schema(schema)  # what is wrong with it is said at once
        return replace(ask, bind=lambda: self._grammars.of_schema(schema))

    async def template(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"prompt": self._text(body)}

    async def count(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        tokens, _ = await self.model.prompts.read(self._text(body), body)
        return {"input_tokens": len(tokens)}

    def _text(self, body: Mapping[str, Any]) -> str:
        offered = body.get("tools") if self.model.marks.opening is not None else None
        return self.model.prompts.of_chat(body, offered if body.get("tool_choice") != "none" else None)

    async def tokenize(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        content = body.get("content")
        if not isinstance(content, str):
            raise BadRequest("content must be a text")
        tokens = self.model.prompts.encode(content, special=body.get("add_special") is True)
        if body.get("with_pieces") is True:
            return {"tokens": [{"id": token, "piece": self.model.prompts.token_text(token)} for token in tokens]}
        return {"tokens": tokens}

    async def detokenize(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        tokens = body.get("tokens")
        if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
            raise BadRequest("tokens must be a list of whole numbers")
        return {"content": self.model.prompts.decode(tokens)}

    async def embed(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        if self._embed is None:
            raise BadRequest("this model does not support embeddings", 501)
        return await self._embed(body)


def _call_schema(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = tool["function"]
    parameters = function.get("parameters") or {"type": "object"}
    properties = {"name": {"const": function["name"]}, "arguments": parameters}
    return {
        "type": "object",
        "properties": properties,
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }
