"""The OpenAPI form of routes whose bodies are other makers' APIs: what each is for, what it needs, what comes back.

Their makers' own documents, and ours under docs/, say the rest.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
ANY: Schema = {"type": "object", "additionalProperties": True}
RESPONSE_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
MESSAGES = [{"role": "user", "content": "Name three seas."}]
MESSAGE = {"model": "smollm2", "max_tokens": 64, "messages": MESSAGES}


def translated_paths() -> dict[str, Any]:
    """Path -> operations. The paths without /v1 are left out: they are the same operations."""
    answer = operation("anthropic", "messages", "Answer a conversation", MESSAGE, streams=True)
    count = operation(
        "anthropic", "count_tokens", "Count a prompt's tokens", {"model": "smollm2", "messages": MESSAGES}
    )
    asked = {"model": "smollm2", "input": "Name three seas."}
    created = operation("responses", "create_response", "Answer an input", asked, streams=True)
    counted = operation("responses", "count_input_tokens", "Count an input's tokens", asked)
    one: Schema = {"parameters": [RESPONSE_ID]}
    return {
        "/v1/messages": {"post": answer},
        "/v1/messages/count_tokens": {"post": count},
        "/v1/responses": {"post": created},
        "/v1/responses/input_tokens": {"post": counted},
        "/v1/responses/{id}": {
            "get": one | operation("responses", "get_response", "A response that was kept"),
            "delete": one | operation("responses", "delete_response", "Forget a response"),
        },
    }


def operation(
    tag: str, name: str, summary: str, example: Schema | None = None, *, streams: bool = False
) -> dict[str, Any]:
    """One operation. `example`: a body that works; its fields are those that are needed."""
    content: Schema = {"application/json": {"schema": ANY}}
    if streams:
        events = {"type": "string", "description": "With `stream: true`: named events, one JSON object each."}
        content["text/event-stream"] = {"schema": events}
    responses = {
        "200": {"description": "The answer.", "content": content},
        "default": {"description": "See errors.", "content": {"application/json": {"schema": ANY}}},
    }
    told: dict[str, Any] = {"tags": [tag], "summary": summary, "operationId": name, "responses": responses}
    if example is not None:
        schema = {**ANY, "required": [*example]}
        told["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": example}},
        }
    return told
