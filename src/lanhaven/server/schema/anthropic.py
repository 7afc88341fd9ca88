"""Anthropic's Messages. Its makers' own documents say the rest of the fields; docs/anthropic.md what is different."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lanhaven.server.schema.parts import (
    ANY,
    FLAG,
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
    record,
    ref,
    told,
    whole,
    whole_record,
    word,
)

FAMILY = Family("anthropic", "AnthropicError")
PROMPT: Mapping[str, Schema] = MappingProxyType(
    {
        "model": TEXT,
        "messages": listing(ref("MessageParam"), minItems=1),
        "system": either(TEXT, listing(ref("ContentBlock"))),
        "tools": listing(ANY),
        "tool_choice": told(ANY, "`type`: auto, any, none, or tool with a `name`."),
        "thinking": told(ANY, "`type`: enabled, adaptive or disabled."),
        "output_config": told(ANY, "`effort`, `format`."),
    }
)

SCHEMAS: Mapping[str, Schema] = MappingProxyType(
    {
        "ContentBlock": record(
            {
                "type": told(TEXT, "text, image, thinking, tool_use, tool_result, document."),
                "text": TEXT,
                "thinking": TEXT,
                "id": TEXT,
                "name": TEXT,
                "input": ANY,
            },
            "type",
        ),
        "MessageParam": record(
            {"role": word("user", "assistant", "system"), "content": either(TEXT, listing(ref("ContentBlock")))},
            "role",
            "content",
        ),
        "MessageRequest": record(
            {
                **PROMPT,
                "max_tokens": whole(0, 1 << 30, "0: only fill the prompt cache."),
                "stop_sequences": listing({"type": "string", "minLength": 1}),
                "temperature": told(NUMBER, "0 or more."),
                "top_p": NUMBER,
                "top_k": NUMBER,
                "stream": FLAG,
            },
            "model",
            "max_tokens",
            "messages",
        ),
        "CountTokensRequest": record(PROMPT, "model", "messages"),
        "MessageUsage": whole_record(
            dict.fromkeys(
                ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens"), WHOLE
            )
        ),
        "Message": whole_record(
            {
                "id": TEXT,
                "type": word("message"),
                "role": word("assistant"),
                "model": TEXT,
                "content": listing(ref("ContentBlock")),
                "stop_reason": nullable(TEXT),
                "stop_sequence": nullable(TEXT),
                "usage": ref("MessageUsage"),
            }
        ),
        "MessageEvent": record(
            {
                "type": told(TEXT, "Also the event's name: message_start ... message_stop; ping."),
                "message": ref("Message"),
                "index": WHOLE,
                "content_block": ref("ContentBlock"),
                "delta": ANY,
                "usage": ref("MessageUsage"),
                "error": ref("AnthropicErrorDetail"),
            },
            "type",
        ),
        "TokenCount": whole_record({"input_tokens": WHOLE}),
        "AnthropicErrorDetail": whole_record({"type": TEXT, "message": TEXT}),
        "AnthropicError": whole_record(
            {"type": word("error"), "error": ref("AnthropicErrorDetail"), "request_id": TEXT}
        ),
    }
)

MESSAGES = [{"role": "user", "content": "Name three seas."}]
ASK = Body("MessageRequest", {"model": "smollm2", "max_tokens": 64, "messages": MESSAGES})
COUNT = Body("CountTokensRequest", {"model": "smollm2", "messages": MESSAGES})


def paths() -> dict[str, Any]:
    """Path -> operations."""
    operation = FAMILY.operation
    return {
        "/v1/messages": {
            "post": operation("messages", "Answer a conversation", "Message", ASK, stream=Stream("MessageEvent"))
        },
        "/v1/messages/count_tokens": {
            "post": operation("count_tokens", "Count a prompt's tokens", "TokenCount", COUNT)
        },
    }
