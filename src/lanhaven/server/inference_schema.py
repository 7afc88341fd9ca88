"""The OpenAPI form of the inference routes, which no framework serves and so no framework describes.

Bounds are those of dialects/openai/fields.py (a test compares them). Fields that are not named here pass as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lanhaven.dialects.openai.models import LONGEST_PAGE, STATUSES

Schema = dict[str, Any]


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(item: Schema, **bounds: int) -> Schema:
    return {"type": "array", "items": item, **bounds}


def _object(properties: Schema, *required: str) -> Schema:
    body: Schema = {"type": "object", "properties": properties, "additionalProperties": True}
    return body | ({"required": list(required)} if required else {})


def _either(*choices: Schema, **more: Any) -> Schema:
    return {"anyOf": list(choices), **more}


def _number(low: float, high: float, description: str = "") -> Schema:
    return _told({"type": "number", "minimum": low, "maximum": high}, description)


def _whole(low: int, high: int, description: str = "") -> Schema:
    return _told({"type": "integer", "minimum": low, "maximum": high}, description)


def _told(schema: Schema, description: str) -> Schema:
    return schema | ({"description": description} if description else {})


TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
TOKENS = _list(WHOLE)
MODEL = _told(TEXT, "Model key, alias or instance; left out, `default` or `auto`: the active model, else the default.")

SAMPLING: Mapping[str, Schema] = MappingProxyType(
    {
        "max_tokens": _whole(-1, 1 << 30, "-1: no limit."),
        "temperature": _number(0, 100),
        "top_p": _number(0, 1),
        "top_k": _whole(-1, 1 << 20),
        "min_p": _number(0, 1),
        "repeat_penalty": _number(0, 100),
        "presence_penalty": _number(-2, 2),
        "frequency_penalty": _number(-2, 2),
        "seed": _whole(-(1 << 63), (1 << 63) - 1),
        "stop": _either(TEXT, _list(TEXT, maxItems=16)),
        "n": _whole(1, 8),
        "logit_bias": {"type": "object"},
        "stream": {"type": "boolean", "description": "Answer as Server-Sent Events that end with `data: [DONE]`."},
        "stream_options": _object({"include_usage": {"type": "boolean"}}),
        "ttl": _number(1, 1 << 31, "Seconds unused until the model unloads, if this request has to load it."),
    }
)

MESSAGE = _object(
    {
        "role": TEXT,
        "content": _either(TEXT, _list(_ref("ContentPart")), {"type": "null"}),
        "name": TEXT,
        "tool_calls": _list({"type": "object"}),
        "tool_call_id": TEXT,
    },
    "role",
)
PART = _object(
    {
        "type": TEXT,
        "text": TEXT,
        "image_url": _object({"url": _told(TEXT, "A `data:` URI; remote images are refused.")}),
    },
    "type",
)
CHAT = _object(
    {
        "model": MODEL,
        "messages": _list(_ref("ChatMessage"), minItems=1, maxItems=4096),
        **SAMPLING,
        "max_completion_tokens": _whole(-1, 1 << 30, "-1: no limit."),
        "response_format": _told({"type": "object"}, "`text`, `json_object` or `json_schema`."),
        "tools": _list({"type": "object"}, maxItems=256),
        "tool_choice": _either(TEXT, {"type": "object"}),
        "logprobs": {"type": "boolean"},
        "top_logprobs": _whole(0, 20),
    },
    "messages",
)
COMPLETION = _object(
    {
        "model": MODEL,
        "prompt": _either(TEXT, _list(TEXT), TOKENS, _list(TOKENS)),
        **SAMPLING,
        "logprobs": _whole(0, 20),
    },
    "prompt",
)
EMBEDDING = _object(
    {
        "model": MODEL,
        "input": _either(TEXT, _list(TEXT), TOKENS, _list(TOKENS)),
        "encoding_format": {"type": "string", "enum": ["float", "base64"]},
        "dimensions": _whole(1, 1 << 20, "Cut to so many numbers, and normalised."),
    },
    "input",
)
RERANK = _object(
    {"model": MODEL, "query": TEXT, "documents": _list(TEXT, minItems=1), "top_n": _whole(1, 1 << 20)},
    "query",
    "documents",
)

_USAGE = ("prompt_tokens", "completion_tokens", "total_tokens")
_ENVELOPE: Mapping[str, Schema] = MappingProxyType({"id": TEXT, "object": TEXT, "created": WHOLE, "model": TEXT})

SCHEMAS: Mapping[str, Schema] = MappingProxyType(
    {
        "ChatRequest": CHAT,
        "ChatMessage": MESSAGE,
        "ContentPart": PART,
        "CompletionRequest": COMPLETION,
        "EmbeddingRequest": EMBEDDING,
        "RerankRequest": RERANK,
        "Usage": _object(dict.fromkeys(_USAGE, WHOLE)),
        "ChatCompletion": _object(
            {
                **_ENVELOPE,
                "choices": _list(_object({"index": WHOLE, "message": _ref("ChatMessage"), "finish_reason": TEXT})),
                "usage": _ref("Usage"),
            },
            "choices",
        ),
        "Completion": _object(
            {
                **_ENVELOPE,
                "choices": _list(_object({"index": WHOLE, "text": TEXT, "finish_reason": TEXT})),
                "usage": _ref("Usage"),
            },
            "choices",
        ),
        "EmbeddingList": _object(
            {
                "object": TEXT,
                "data": _list(_object({"index": WHOLE, "embedding": _either(_list({"type": "number"}), TEXT)})),
                "model": TEXT,
                "usage": _ref("Usage"),
            },
            "data",
        ),
        "RerankResult": _object(
            {"results": _list(_object({"index": WHOLE, "relevance_score": {"type": "number"}}))}, "results"
        ),
        "Model": _object(
            {
                "id": TEXT,
                "object": TEXT,
                "created": WHOLE,
                "owned_by": TEXT,
                "status": _told(TEXT, "ready, loading, unloaded or error."),
                "max_context_length": _either(WHOLE, {"type": "null"}),
                "loaded_context_length": _either(WHOLE, {"type": "null"}),
                "capabilities": _list(TEXT),
            },
            "id",
        ),
        "ModelList": _object(
            {
                "object": TEXT,
                "data": _list(_ref("Model")),
                "has_more": {"type": "boolean"},
                "next_cursor": _either(TEXT, {"type": "null"}),
            },
            "data",
        ),
        "OpenAIError": _object(
            {"error": _object({"message": TEXT, "type": TEXT, "param": _either(TEXT, {"type": "null"}), "code": TEXT})},
            "error",
        ),
    }
)

ASK = {"model": "smollm2", "messages": [{"role": "user", "content": "Name three seas."}]}
CONTINUE = {"model": "smollm2", "prompt": "Once upon a time"}
EMBED = {"model": "minilm", "input": "The sea is calm."}
ORDER = {"model": "reranker", "query": "sea", "documents": ["A wave.", "A tax."]}
MODEL_ID = {"name": "id", "in": "path", "required": True, "schema": TEXT}
LIST_QUERY = tuple(
    {"name": name, "in": "query", "required": False, "schema": schema, "description": description}
    for name, schema, description in (
        ("owned_by", TEXT, "Only models of this provider."),
        ("status", {"type": "string", "enum": [*STATUSES]}, "Only models in this state; ready = in memory."),
        ("limit", {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE}, "At most so many."),
        ("cursor", TEXT, "Those behind the model of this id: the next_cursor of the page before."),
    )
)


def inference_paths() -> dict[str, Any]:
    """Path -> operations, as OpenAPI has them. The paths without /v1 are left out: they are the same operations."""
    listed = _operation("list_models", "Models that could run", "ModelList") | {"parameters": [*LIST_QUERY]}
    one = _operation("get_model", "One model", "Model") | {"parameters": [MODEL_ID]}
    chat = _operation("chat", "Answer a conversation", "ChatCompletion", _body("ChatRequest", ASK))
    text = _operation("complete", "Continue a text", "Completion", _body("CompletionRequest", CONTINUE))
    vectors = _operation("embed", "Turn texts into vectors", "EmbeddingList", _body("EmbeddingRequest", EMBED))
    order = _operation("rerank", "Order texts by relevance", "RerankResult", _body("RerankRequest", ORDER))
    return {
        "/v1/models": {"get": listed},
        "/v1/models/{id}": {"get": one},
        "/v1/chat/completions": {"post": _streaming(chat)},
        "/v1/completions": {"post": _streaming(text)},
        "/v1/embeddings": {"post": vectors},
        "/v1/rerank": {"post": order},
    }


def _operation(name: str, summary: str, reply: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    responses = {
        "200": {"description": "The answer.", "content": {"application/json": {"schema": _ref(reply)}}},
        "default": {"description": "See errors.", "content": {"application/json": {"schema": _ref("OpenAIError")}}},
    }
    known: dict[str, Any] = {"tags": ["openai"], "summary": summary, "operationId": name, "responses": responses}
    return known | ({"requestBody": body} if body is not None else {})


def _body(schema: str, example: Schema) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": _ref(schema), "example": example}}}


def _streaming(operation: dict[str, Any]) -> dict[str, Any]:
    events = {"schema": _told(TEXT, "With `stream: true`: one JSON chunk per `data:` line.")}
    operation["responses"]["200"]["content"]["text/event-stream"] = events
    return operation
