"""Calls about text that need a loaded instance: tokens, prompt templates, embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lanhaven.dialects.lmstudio.errors import unloaded
from lanhaven.dialects.lmstudio.models import EMBEDDING, LLM, find_instance, find_models
from lanhaven.dialects.lmstudio.ws.endpoint import Peer, Rpc
from lanhaven.dialects.lmstudio.ws.fields import table, text
from lanhaven.dialects.lmstudio.ws.prediction import read_history, text_of_history
from lanhaven.dialects.lmstudio.ws.settings import collapsed, openai_tools, read_settings
from lanhaven.dialects.tools.offering import make_offer
from lanhaven.errors import InvalidRequest, ModelUnloaded, UnsupportedFeature, UpstreamError
from lanhaven.lmstudio.load_values import rows
from lanhaven.types.chat import Route
from lanhaven.types.models import Instance, ModelInfo
from lanhaven.wire import read_object


async def tokenize(peer: Peer, parameter: Any) -> dict[str, Any]:
    """{specifier, inputString} -> {tokens}; an embedding model's with the marks that it reads around them."""
    return {"tokens": await _tokens(peer, parameter, special=peer.namespace == EMBEDDING)}


async def count_tokens(peer: Peer, parameter: Any) -> dict[str, Any]:
    """{specifier, inputString} -> {tokenCount}, without marks."""
    return {"tokenCount": len(await _tokens(peer, parameter, special=False))}


async def _tokens(peer: Peer, parameter: Any, *, special: bool) -> list[int]:
    asked = table(parameter)
    _, instance = _meant(peer, asked, "specifier")
    body = {"content": _input(asked), "add_special": special, "parse_special": True}
    reply = await _ask(peer, instance, Route.TOKENIZE, body)
    tokens = reply.get("tokens")
    if not isinstance(tokens, list):
        raise UpstreamError("The model's server sent no tokens.")
    return tokens


async def apply_prompt_template(peer: Peer, parameter: Any) -> dict[str, Any]:
    """{specifier, history, predictionConfigStack, opts} -> {formatted}: the prompt as a prediction would send it.

    `omitBosToken` and `omitEosToken` have no effect: llama.cpp's prompts come without a mark that it adds itself, and
    one that a template writes in its text (ChatML) belongs to it.
    """
    asked = table(parameter)
    info, instance = _meant(peer, asked, "specifier")
    values, raw = collapsed(asked.get("predictionConfigStack"))
    settings = read_settings(values, raw=raw)
    if settings.raw:
        return {"formatted": text_of_history(asked.get("history"))}
    opts = table(asked.get("opts") or {})
    tools = openai_tools(rows(opts.get("toolDefinitions"), "toolDefinitions"), "toolDefinitions")
    named: dict[str, Any] = {name: settings.body[name] for name in ("tools", "tool_choice") if name in settings.body}
    messages = read_history(asked.get("history"), _no_images, settings.system)
    body: dict[str, Any] = {"messages": messages, **named, **tools}
    make_offer(body, info)
    body.pop("response_format", None)
    reply = await _ask(peer, instance, Route.TEMPLATE, body)
    formatted = reply.get("prompt")
    if not isinstance(formatted, str):
        raise UpstreamError("The model's server sent no prompt.")
    return {"formatted": formatted}


def _no_images(identifier: str) -> str:
    raise InvalidRequest("Images have no place in a formatted prompt.", param="history", retry=False)


async def preload_draft_model(peer: Peer, parameter: Any) -> None:
    """{specifier, draftModelKey}: an unknown model is told first, as that is what the client can mend."""
    asked = table(parameter)
    _meant(peer, asked, "specifier")
    find_models(peer.context.gateway, text(asked, "draftModelKey"), LLM, peer.key_name)
    raise UnsupportedFeature(
        "LanHaven runs no draft models beside a model.", hint="leave draftModel out of the prediction", retry=False
    )


async def embed_string(peer: Peer, parameter: Any) -> dict[str, Any]:
    """{modelSpecifier, inputString} -> {embedding}."""
    asked = table(parameter)
    _, instance = _meant(peer, asked, "modelSpecifier")
    reply = await _ask(peer, instance, Route.EMBEDDING, {"input": _input(asked), "encoding_format": "float"})
    match reply:
        case {"data": [{"embedding": list(embedding)}]}:
            return {"embedding": embedding}
    raise UpstreamError("The engine's embedding reply has no vector.")


def _input(asked: Mapping[str, Any]) -> str:
    value = asked.get("inputString")
    if not isinstance(value, str):
        raise InvalidRequest("inputString must be a text.", param="inputString", retry=False)
    return value


def _meant(peer: Peer, asked: Mapping[str, Any], name: str) -> tuple[ModelInfo, Instance]:
    """The instance that is meant, of the connection's own kind."""
    peer.need("inference")
    return find_instance(peer.context.gateway, asked.get(name), peer.namespace, peer.key_name)


async def _ask(peer: Peer, instance: Instance, route: Route, body: dict[str, Any]) -> dict[str, Any]:
    """One question to this very instance, and the whole answer."""
    request = peer.inference(route, body, instance)
    tapped = peer.tapped(request)
    try:
        async with peer.context.gateway.infer(request) as inference:
            reply = await (await inference.open()).body()
    except ModelUnloaded as error:
        raise unloaded() from error
    if tapped is not None:
        await tapped(reply)
    return read_object(reply)


COMMON: Mapping[str, Rpc] = MappingProxyType({"tokenize": tokenize, "countTokens": count_tokens})
LLM_RPCS: Mapping[str, Rpc] = MappingProxyType(
    {**COMMON, "applyPromptTemplate": apply_prompt_template, "preloadDraftModel": preload_draft_model}
)
EMBEDDING_RPCS: Mapping[str, Rpc] = MappingProxyType({**COMMON, "embedString": embed_string})
