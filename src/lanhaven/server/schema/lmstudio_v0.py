"""LM Studio's first REST API, /api/v0: OpenAI's requests and replies, with figures."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lanhaven.server.schema.openai import CHAT, CONTINUE, EMBED
from lanhaven.server.schema.parts import (
    MODEL_NAME,
    NUMBER,
    TEXT,
    WHOLE,
    Family,
    Schema,
    Stream,
    listing,
    nullable,
    record,
    ref,
    whole_record,
    word,
)

FAMILY = Family("lmstudio", "OpenAIError")
FIGURES: Mapping[str, Schema] = MappingProxyType(
    {"stats": ref("V0Stats"), "model_info": ref("V0ModelInfo"), "runtime": ref("V0Runtime")}
)

SCHEMAS: Mapping[str, Schema] = MappingProxyType(
    {
        "V0Model": record(
            {
                "id": TEXT,
                "object": TEXT,
                "type": word("llm", "vlm", "embeddings"),
                "publisher": TEXT,
                "arch": TEXT,
                "compatibility_type": word("gguf", "mlx"),
                "quantization": TEXT,
                "state": word("loaded", "not-loaded"),
                "max_context_length": WHOLE,
                "loaded_context_length": WHOLE,
                "capabilities": listing(TEXT),
            },
            "id",
            "object",
            "type",
            "publisher",
            "arch",
            "compatibility_type",
            "quantization",
            "state",
            "max_context_length",
        ),
        "V0Models": whole_record({"object": TEXT, "data": listing(ref("V0Model"))}),
        "V0Stats": record(
            {
                "tokens_per_second": NUMBER,
                "time_to_first_token": NUMBER,
                "generation_time": NUMBER,
                "stop_reason": TEXT,
            },
            "tokens_per_second",
            "generation_time",
            "stop_reason",
        ),
        "V0ModelInfo": whole_record({"arch": TEXT, "quant": TEXT, "format": TEXT, "context_length": nullable(WHOLE)}),
        "V0Runtime": whole_record({"name": TEXT, "version": TEXT, "supported_formats": listing(TEXT)}),
        "V0ChatCompletion": record(
            {"id": TEXT, "model": TEXT, "choices": listing(ref("ChatChoice")), "usage": ref("Usage"), **FIGURES},
            "choices",
            *FIGURES,
        ),
        "V0ChatChunk": record(
            {"id": TEXT, "model": TEXT, "choices": listing(ref("ChatChunkChoice")), **FIGURES}, "choices"
        ),
        "V0Completion": record(
            {"id": TEXT, "model": TEXT, "choices": listing(ref("CompletionChoice")), "usage": ref("Usage"), **FIGURES},
            "choices",
            *FIGURES,
        ),
        "V0CompletionChunk": record(
            {"id": TEXT, "model": TEXT, "choices": listing(ref("CompletionChoice")), **FIGURES}, "choices"
        ),
        "V0EmbeddingList": record(
            {
                "object": TEXT,
                "data": listing(ref("Embedding")),
                "model": TEXT,
                "model_info": ref("V0ModelInfo"),
                "runtime": ref("V0Runtime"),
            },
            "data",
            "model_info",
        ),
    }
)


def paths() -> dict[str, Any]:
    """Path -> operations."""
    operation = FAMILY.operation
    chat = operation(
        "lmstudio_v0_chat", "Answer a conversation", "V0ChatCompletion", CHAT, stream=Stream("V0ChatChunk")
    )
    text = operation(
        "lmstudio_v0_complete", "Continue a text", "V0Completion", CONTINUE, stream=Stream("V0CompletionChunk")
    )
    return {
        "/api/v0/models": {"get": operation("lmstudio_v0_models", "Models, as editors read them", "V0Models")},
        "/api/v0/models/{id}": {"get": operation("lmstudio_v0_model", "One model", "V0Model", parameters=[MODEL_NAME])},
        "/api/v0/chat/completions": {"post": chat},
        "/api/v0/completions": {"post": text},
        "/api/v0/embeddings": {
            "post": operation("lmstudio_v0_embed", "Turn texts into vectors", "V0EmbeddingList", EMBED)
        },
    }
