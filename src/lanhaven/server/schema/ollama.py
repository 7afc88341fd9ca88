"""Ollama's API. Its makers' own documents say the rest of the fields; docs/ollama.md what is different."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lanhaven.server.schema.parts import (
    ANY,
    FLAG,
    LINES,
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
    path_id,
    record,
    ref,
    told,
    whole_record,
)

FAMILY = Family("ollama", "OllamaError")
MODEL = told(TEXT, "A model key, with or without a tag.")
STREAM = told(FLAG, "Lines of JSON; true unless said otherwise.")
TRUNCATE = told(FLAG, "Shorten what does not fit; true unless said otherwise. Headers of the reply tell what is gone.")
HOW: Mapping[str, Schema] = MappingProxyType(
    {
        "model": MODEL,
        "stream": STREAM,
        "format": told(either(TEXT, ANY), '`"json"`, or a JSON schema.'),
        "think": either(FLAG, TEXT),
        "keep_alive": told(either(NUMBER, TEXT), "Seconds, or a duration such as `5m`."),
        "options": ref("OllamaOptions"),
        "truncate": TRUNCATE,
    }
)
COUNTS: Mapping[str, Schema] = MappingProxyType(
    {
        "done_reason": TEXT,
        **dict.fromkeys(
            (
                "total_duration",
                "load_duration",
                "prompt_eval_count",
                "prompt_eval_duration",
                "eval_count",
                "eval_duration",
            ),
            WHOLE,
        ),
    }
)
LINE: Mapping[str, Schema] = MappingProxyType({"model": TEXT, "created_at": TEXT, "done": FLAG})
TAG: Mapping[str, Schema] = MappingProxyType(
    {"name": TEXT, "model": TEXT, "modified_at": TEXT, "size": WHOLE, "digest": TEXT, "details": ref("OllamaDetails")}
)

SCHEMAS: Mapping[str, Schema] = MappingProxyType(
    {
        "OllamaOptions": told(
            record(
                {
                    "num_ctx": WHOLE,
                    "num_predict": told(WHOLE, "Below 1: no limit."),
                    "temperature": NUMBER,
                    "top_k": NUMBER,
                    "top_p": NUMBER,
                    "min_p": NUMBER,
                    "seed": NUMBER,
                    "repeat_penalty": NUMBER,
                    "stop": either(TEXT, listing(TEXT)),
                }
            ),
            "Unknown options are ignored.",
        ),
        "OllamaMessage": record(
            {
                "role": TEXT,
                "content": TEXT,
                "thinking": TEXT,
                "images": listing(told(TEXT, "Base64, without `data:`.")),
                "tool_calls": listing(ANY),
                "tool_name": TEXT,
            },
            "role",
        ),
        "OllamaChatRequest": record(
            {**HOW, "messages": listing(ref("OllamaMessage")), "tools": listing(ref("Tool"))}, "model"
        ),
        "OllamaGenerateRequest": record(
            {**HOW, "prompt": TEXT, "system": TEXT, "images": listing(TEXT), "raw": FLAG}, "model"
        ),
        "OllamaEmbedRequest": record(
            {"model": MODEL, "input": either(TEXT, listing(TEXT)), "dimensions": WHOLE, "truncate": TRUNCATE},
            "model",
            "input",
        ),
        "OllamaEmbeddingsRequest": record({"model": MODEL, "prompt": TEXT, "truncate": TRUNCATE}, "model", "prompt"),
        "OllamaModelRequest": record({"model": MODEL, "stream": STREAM}, "model"),
        "OllamaChat": record(
            {**LINE, "message": ref("OllamaMessage"), **COUNTS}, "model", "created_at", "done", "message"
        ),
        "OllamaGenerated": record(
            {**LINE, "response": TEXT, "thinking": TEXT, **COUNTS}, "model", "created_at", "done", "response"
        ),
        "OllamaEmbed": record({"model": TEXT, "embeddings": listing(listing(NUMBER)), **COUNTS}, "model", "embeddings"),
        "OllamaEmbeddings": whole_record({"embedding": listing(NUMBER)}),
        "OllamaDetails": whole_record(
            {
                "parent_model": TEXT,
                "format": TEXT,
                "family": TEXT,
                "families": listing(TEXT),
                "parameter_size": TEXT,
                "quantization_level": TEXT,
            }
        ),
        "OllamaTag": whole_record(TAG),
        "OllamaTags": whole_record({"models": listing(ref("OllamaTag"))}),
        "OllamaRunning": whole_record({**TAG, "expires_at": TEXT, "size_vram": WHOLE, "context_length": WHOLE}),
        "OllamaPs": whole_record({"models": listing(ref("OllamaRunning"))}),
        "OllamaShown": whole_record(
            {
                "modelfile": TEXT,
                "parameters": TEXT,
                "template": TEXT,
                "details": ref("OllamaDetails"),
                "model_info": ANY,
                "capabilities": listing(TEXT),
                "modified_at": TEXT,
            }
        ),
        "OllamaVersion": whole_record({"version": TEXT}),
        "OllamaStatus": record(
            {"status": TEXT, "digest": TEXT, "total": nullable(WHOLE), "completed": WHOLE}, "status"
        ),
        "OllamaError": whole_record({"error": TEXT}),
    }
)

ASK = {"model": "smollm2", "stream": False}
CHAT = Body("OllamaChatRequest", {**ASK, "messages": [{"role": "user", "content": "Name three seas."}]})
GENERATE = Body("OllamaGenerateRequest", {**ASK, "prompt": "Name three seas."})
EMBED = Body("OllamaEmbedRequest", {"model": "minilm", "input": ["The sea is calm."]})
EMBEDDINGS = Body("OllamaEmbeddingsRequest", {"model": "minilm", "prompt": "The sea is calm."})
SHOW = Body("OllamaModelRequest", {"model": "smollm2"})
PULL = Body("OllamaModelRequest", ASK)
NEVER = "Not served: no client changes this server's models"
DIGEST = [path_id("A digest.")]


def lines(item: str) -> Stream:
    """Lines of JSON, the default."""
    return Stream(item, LINES, "Unless `stream` is false.")


def paths() -> dict[str, Any]:
    """Path -> operations."""
    operation = FAMILY.operation
    chat = operation("ollama_chat", "Answer a conversation", "OllamaChat", CHAT, stream=lines("OllamaChat"))
    text = operation("ollama_generate", "Answer a prompt", "OllamaGenerated", GENERATE, stream=lines("OllamaGenerated"))
    pull = operation("ollama_pull", "Fetch a packed model", "OllamaStatus", PULL, stream=lines("OllamaStatus"))
    return {
        "/api/version": {"get": operation("ollama_version", "The Ollama that is followed", "OllamaVersion")},
        "/api/tags": {"get": operation("ollama_tags", "Models that could run", "OllamaTags")},
        "/api/ps": {"get": operation("ollama_ps", "Models in memory", "OllamaPs")},
        "/api/show": {"post": operation("ollama_show", "One model", "OllamaShown", SHOW)},
        "/api/chat": {"post": chat},
        "/api/generate": {"post": text},
        "/api/embed": {"post": operation("ollama_embed", "Turn texts into vectors", "OllamaEmbed", EMBED)},
        "/api/embeddings": {
            "post": operation("ollama_embeddings", "Turn a text into a vector", "OllamaEmbeddings", EMBEDDINGS)
        },
        "/api/pull": {"post": pull},
        "/api/create": {"post": operation("ollama_create", NEVER, None, status="501")},
        "/api/copy": {"post": operation("ollama_copy", NEVER, None, status="501")},
        "/api/push": {"post": operation("ollama_push", NEVER, None, status="501")},
        "/api/delete": {"delete": operation("ollama_delete", NEVER, None, status="501")},
        "/api/blobs/{id}": {
            "head": operation("ollama_has_blob", "There are no blobs", None, parameters=DIGEST, status="404"),
            "post": operation("ollama_add_blob", NEVER, None, parameters=DIGEST, status="501"),
        },
    }
