"""OpenAI's routes. The paths without /v1 are left out: they are the same operations."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lanhaven.dialects.openai.models import LONGEST_PAGE, STATUSES
from lanhaven.dialects.openai.passing import PATHS
from lanhaven.server.schema.openai_bodies import BODIES
from lanhaven.server.schema.parts import (
    ANY,
    FLAG,
    FORM,
    MODEL_NAME,
    NUMBER,
    TEXT,
    WHOLE,
    Body,
    Family,
    Schema,
    Stream,
    either,
    listing,
    nullable,
    query,
    record,
    ref,
    told,
    whole,
    whole_record,
    word,
)
from lanhaven.wire import encode

FAMILY = Family("openai", "OpenAIError")
USAGE = ("prompt_tokens", "completion_tokens", "total_tokens")
ENVELOPE: Mapping[str, Schema] = MappingProxyType({"id": TEXT, "object": TEXT, "created": WHOLE, "model": TEXT})
TIMES = told(ANY, "Of llama.cpp: what the answer took.")

SCHEMAS: Mapping[str, Schema] = MappingProxyType(
    {
        **BODIES,
        "Usage": whole_record(dict.fromkeys(USAGE, WHOLE)),
        "AssistantMessage": record(
            {
                "role": TEXT,
                "content": nullable(TEXT),
                "reasoning_content": nullable(TEXT),
                "tool_calls": nullable(listing(ref("ToolCall"))),
            },
            "role",
        ),
        "ChatChoice": record(
            {
                "index": WHOLE,
                "message": ref("AssistantMessage"),
                "finish_reason": nullable(TEXT),
                "logprobs": nullable(ANY),
            },
            "index",
            "message",
        ),
        "ChatCompletion": record(
            {**ENVELOPE, "choices": listing(ref("ChatChoice")), "usage": ref("Usage"), "timings": TIMES}, "choices"
        ),
        "ChatDelta": record(
            {
                "role": nullable(TEXT),
                "content": nullable(TEXT),
                "reasoning_content": nullable(TEXT),
                "tool_calls": nullable(listing(ref("ToolCall"))),
            }
        ),
        "ChatChunkChoice": record(
            {
                "index": WHOLE,
                "delta": ref("ChatDelta"),
                "finish_reason": nullable(TEXT),
                "logprobs": nullable(ANY),
            },
            "delta",
        ),
        "ChatChunk": record(
            {
                **ENVELOPE,
                "choices": listing(ref("ChatChunkChoice")),
                "usage": nullable(ref("Usage")),
                "timings": TIMES,
            },
            "choices",
        ),
        "CompletionChoice": record(
            {"index": WHOLE, "text": TEXT, "finish_reason": nullable(TEXT), "logprobs": nullable(ANY)}, "text"
        ),
        "Completion": record(
            {**ENVELOPE, "choices": listing(ref("CompletionChoice")), "usage": nullable(ref("Usage"))}, "choices"
        ),
        "Embedding": record(
            {"index": WHOLE, "object": TEXT, "embedding": either(listing(NUMBER), TEXT)}, "index", "embedding"
        ),
        "EmbeddingList": record(
            {"object": TEXT, "data": listing(ref("Embedding")), "model": TEXT, "usage": ANY}, "data"
        ),
        "RerankItem": record(
            {"index": WHOLE, "relevance_score": NUMBER, "document": record({"text": TEXT}, "text")},
            "index",
            "relevance_score",
        ),
        "RerankResult": record({"results": listing(ref("RerankItem")), "model": TEXT, "usage": ANY}, "results"),
        "CohereRerankResult": whole_record({"id": TEXT, "results": listing(ref("RerankItem")), "meta": ANY}),
        "Model": record(
            {
                "id": TEXT,
                "object": TEXT,
                "created": WHOLE,
                "owned_by": told(TEXT, "The provider."),
                "status": word(*STATUSES),
                "state": told(TEXT, "loaded or not-loaded."),
                "kind": TEXT,
                "format": nullable(TEXT),
                "quantization": nullable(TEXT),
                "max_context_length": nullable(WHOLE),
                "loaded_context_length": nullable(WHOLE),
                "load_progress": told(nullable(NUMBER), "0 to 1 while it is loaded, where the engine tells."),
                "capabilities": listing(TEXT),
            },
            "id",
            "object",
            "created",
            "owned_by",
            "status",
            "state",
        ),
        "ModelList": whole_record(
            {"object": TEXT, "data": listing(ref("Model")), "has_more": FLAG, "next_cursor": nullable(TEXT)}
        ),
        "OpenAIErrorDetail": record(
            {"message": TEXT, "type": TEXT, "param": nullable(TEXT), "code": TEXT}, "message", "type", "param", "code"
        ),
        "OpenAIError": whole_record({"error": ref("OpenAIErrorDetail")}),
    }
)

ASK = {"model": "smollm2", "messages": [{"role": "user", "content": "Name three seas."}], "max_tokens": 64}
CHAT = Body("ChatRequest", ASK)
SHOW = Body("ImageForm", {"model": "smollm2", "messages": encode(ASK["messages"]).decode(), "max_tokens": 64}, FORM)
CONTINUE = Body("CompletionRequest", {"model": "smollm2", "prompt": "Once upon a time", "max_tokens": 64})
EMBED = Body("EmbeddingRequest", {"model": "minilm", "input": "The sea is calm."})
ORDER = Body("RerankRequest", {"model": "reranker", "query": "sea", "documents": ["A wave.", "A tax."]})
LIST_QUERY = (
    query("owned_by", TEXT, "Only models of this provider."),
    query("status", word(*STATUSES), "Only models in this state; ready = in memory."),
    query("limit", whole(1, LONGEST_PAGE), "At most so many."),
    query("cursor", TEXT, "Those behind the model of this id: the next_cursor of the page before."),
)


def paths() -> dict[str, Any]:
    """Path -> operations."""
    operation = FAMILY.operation
    return {
        "/v1/models": {"get": operation("list_models", "Models that could run", "ModelList", parameters=LIST_QUERY)},
        "/v1/models/{id}": {"get": operation("get_model", "One model", "Model", parameters=[MODEL_NAME])},
        "/v1/chat/completions": {
            "post": operation("chat", "Answer a conversation", "ChatCompletion", CHAT, stream=Stream("ChatChunk"))
        },
        "/v1/chat/completions/multipart": {
            "post": operation(
                "chat_with_images",
                "Answer a conversation whose images are files",
                "ChatCompletion",
                SHOW,
                stream=Stream("ChatChunk"),
            )
        },
        "/v1/completions": {
            "post": operation("complete", "Continue a text", "Completion", CONTINUE, stream=Stream("Completion"))
        },
        "/v1/embeddings": {"post": operation("embed", "Turn texts into vectors", "EmbeddingList", EMBED)},
        "/v1/rerank": {"post": operation("rerank", "Order texts by relevance", "RerankResult", ORDER)},
        "/v1/reranking": {"post": operation("reranking", "The same as /v1/rerank", "RerankResult", ORDER)},
        "/v2/rerank": {
            "post": operation("cohere_rerank", "The same, answered as Cohere does", "CohereRerankResult", ORDER)
        },
        **{f"/v1{path}": {"post": _passed(path)} for path in PATHS},
    }


def _passed(path: str) -> Schema:
    name = path.strip("/").replace("/", "_")
    return FAMILY.operation(
        name,
        "Passed on to a provider that has it; 501 where none has",
        {},
        description="Body and answer are those of the provider, and may be JSON, a form, text, sound or a picture.",
    )
