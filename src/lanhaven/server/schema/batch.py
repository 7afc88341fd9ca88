"""Many requests at once. docs/batch.md says the rest."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lanhaven.dialects.batch.prompts import MAX_AT_ONCE, MAX_PROMPTS, Mode
from lanhaven.server.schema.openai_bodies import MODEL, SAMPLING
from lanhaven.server.schema.parts import (
    FLAG,
    NUMBER,
    TEXT,
    WHOLE,
    Body,
    Family,
    Schema,
    Stream,
    listing,
    record,
    ref,
    told,
    whole,
    word,
)

FAMILY = Family("batch", "OpenAIError")

SCHEMAS: Mapping[str, Schema] = MappingProxyType(
    {
        "BatchRequest": record(
            {"custom_id": TEXT, "model": MODEL, "messages": listing(ref("ChatMessage"), minItems=1)}, "messages"
        ),
        "BatchChatRequest": told(
            record(
                {
                    "model": MODEL,
                    **SAMPLING,
                    "messages": told(listing(ref("ChatMessage"), minItems=1), "Every user message is a prompt."),
                    "requests": listing(ref("BatchRequest"), minItems=1, maxItems=MAX_PROMPTS),
                    "processing_mode": word(*Mode),
                    "return_individual": told(FLAG, "true unless said otherwise."),
                    "include_timing": FLAG,
                    "batch_size": whole(1, MAX_AT_ONCE, "At most so many at once."),
                    "stream": told(FLAG, "Each answer as it is there."),
                }
            ),
            "`messages` or `requests`; other fields of a chat are shared by all.",
        ),
        "BatchTiming": record({"started": NUMBER, "total_time": NUMBER, "average_per_group": NUMBER}, "total_time"),
        "BatchItem": told(
            record(
                {
                    "index": WHOLE,
                    "custom_id": TEXT,
                    "id": TEXT,
                    "choices": listing(ref("ChatChoice")),
                    "usage": ref("Usage"),
                    "status": told(WHOLE, "Of an error: what the status of a call of its own had been."),
                    "error": ref("OpenAIErrorDetail"),
                    "timing": ref("BatchTiming"),
                },
                "index",
            ),
            "A chat completion, or an error.",
        ),
        "BatchInfo": record(
            {"groups_processed": WHOLE, "successful": WHOLE, "failed": WHOLE},
            "groups_processed", "successful", "failed",
        ),
        "BatchChatReply": record(
            {
                "id": TEXT,
                "object": word("chat.completion.batch"),
                "created": WHOLE,
                "model": TEXT,
                "processing_mode": word(*Mode),
                "completions": listing(ref("BatchItem")),
                "choices": told(listing(ref("ChatChoice")), "With `return_individual: false`: all texts as one."),
                "errors": told(listing(ref("BatchItem")), "With `return_individual: false`: what failed."),
                "usage": ref("Usage"),
                "batch_info": ref("BatchInfo"),
                "timing": ref("BatchTiming"),
            },
            "id", "object", "created", "processing_mode", "usage", "batch_info",
        ),
        "BatchChatEvent": told(
            record({"object": TEXT, "item": ref("BatchItem"), "usage": ref("Usage"), "batch_info": ref("BatchInfo")},
                   "object"),
            "`chat.completion.batch.item` with an `item`; the last one is a reply without its `completions`.",
        ),
    }
)  # fmt: skip

PROMPTS = [{"role": "user", "content": text} for text in ("Name three seas.", "Name two rivers.")]
ASK = Body("BatchChatRequest", {"model": "smollm2", "max_tokens": 32, "messages": PROMPTS})


def paths() -> dict[str, Any]:
    """Path -> operations. The paths without /v1 are left out: they are the same operations."""
    operation = FAMILY.operation
    call = operation(
        "batch_chat", "Answer many prompts in one call", "BatchChatReply", ASK, stream=Stream("BatchChatEvent")
    )
    return {"/v1/batch/chat/completions": {"post": call}}
