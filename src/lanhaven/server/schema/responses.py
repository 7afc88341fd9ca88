"""The Responses API. Its makers' own documents say the rest of the fields; docs/responses.md what is different."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lanhaven.server.schema.parts import (
    ANY,
    FLAG,
    TEXT,
    WHOLE,
    Body,
    Family,
    Schema,
    Stream,
    either,
    listing,
    nullable,
    number,
    path_id,
    query,
    record,
    ref,
    told,
    whole,
    whole_record,
    word,
)

FAMILY = Family("responses", "OpenAIError")

SCHEMAS: Mapping[str, Schema] = MappingProxyType(
    {
        "ResponseRequest": record(
            {
                "model": told(TEXT, "As for chat."),
                "input": either(TEXT, listing(ANY)),
                "instructions": nullable(TEXT),
                "previous_response_id": told(nullable(TEXT), "Go on from this response."),
                "max_output_tokens": whole(1, 1 << 30),
                "temperature": number(0, 2),
                "top_p": number(0, 1),
                "tools": listing(ANY),
                "tool_choice": either(TEXT, ANY),
                "parallel_tool_calls": FLAG,
                "text": told(ANY, "`format`: `text`, `json_object` or `json_schema`."),
                "reasoning": told(ANY, "`effort`."),
                "metadata": told({"type": "object", "additionalProperties": TEXT, "maxProperties": 16}, "Yours."),
                "store": told(FLAG, "Keep the response; true unless said otherwise."),
                "stream": FLAG,
                "truncation": nullable(word("auto", "disabled")),
            }
        ),
        "OutputItem": record(
            {
                "id": TEXT,
                "type": told(TEXT, "message, reasoning, function_call or custom_tool_call."),
                "status": TEXT,
                "role": TEXT,
                "content": listing(ANY),
                "call_id": TEXT,
                "name": TEXT,
                "arguments": TEXT,
            },
            "type",
            "id",
        ),
        "ResponseUsage": whole_record(
            {
                "input_tokens": WHOLE,
                "input_tokens_details": record({"cached_tokens": WHOLE, "cache_write_tokens": WHOLE}),
                "output_tokens": WHOLE,
                "output_tokens_details": record({"reasoning_tokens": WHOLE}),
                "total_tokens": WHOLE,
            }
        ),
        "Response": record(
            {
                "id": TEXT,
                "object": word("response"),
                "created_at": WHOLE,
                "completed_at": nullable(WHOLE),
                "status": word("completed", "incomplete", "failed", "in_progress"),
                "model": TEXT,
                "output": listing(ref("OutputItem")),
                "usage": nullable(ref("ResponseUsage")),
                "error": nullable(ANY),
                "incomplete_details": nullable(ANY),
                "previous_response_id": nullable(TEXT),
                "store": FLAG,
            },
            "id",
            "object",
            "created_at",
            "status",
            "model",
            "output",
        ),
        "ResponseEvent": record(
            {
                "type": told(TEXT, "Also the event's name: response.created ... response.completed."),
                "sequence_number": WHOLE,
                "response": ref("Response"),
                "item": ref("OutputItem"),
                "item_id": TEXT,
                "output_index": WHOLE,
                "content_index": WHOLE,
                "delta": TEXT,
            },
            "type",
            "sequence_number",
        ),
        "InputTokens": whole_record({"object": TEXT, "input_tokens": WHOLE}),
        "ResponseDeleted": whole_record({"id": TEXT, "object": TEXT, "deleted": FLAG}),
        "InputItemList": whole_record(
            {
                "object": TEXT,
                "data": listing(ANY),
                "first_id": nullable(TEXT),
                "last_id": nullable(TEXT),
                "has_more": FLAG,
            }
        ),
    }
)

ASK = Body("ResponseRequest", {"model": "smollm2", "input": "Name three seas."})
NAMED = [path_id("Of a response that was kept.")]
PAGE = [
    query("order", word("asc", "desc"), "desc: the newest first."),
    query("limit", whole(1, 100), "At most so many; 20 unless said."),
    query("after", TEXT, "Those behind the item of this id."),
]


def paths() -> dict[str, Any]:
    """Path -> operations. The paths without /v1 are left out: they are the same operations."""
    operation = FAMILY.operation
    return {
        "/v1/responses": {
            "post": operation("create_response", "Answer an input", "Response", ASK, stream=Stream("ResponseEvent"))
        },
        "/v1/responses/input_tokens": {
            "post": operation("count_input_tokens", "Count an input's tokens", "InputTokens", ASK)
        },
        "/v1/responses/{id}": {
            "get": operation("get_response", "A response that was kept", "Response", parameters=NAMED),
            "delete": operation("delete_response", "Forget a response", "ResponseDeleted", parameters=NAMED),
        },
        "/v1/responses/{id}/input_items": {
            "get": operation("list_input_items", "What was said before it", "InputItemList", parameters=[*NAMED, *PAGE])
        },
        "/v1/responses/{id}/cancel": {
            "post": operation(
                "cancel_response", "Only for those in the background", None, parameters=NAMED, status="400"
            )
        },
    }
