"""Many requests at once. docs/batch.md says the rest."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lanhaven.dialects.batch.dialect import ENDPOINTS
from lanhaven.dialects.batch.prompts import MAX_AT_ONCE, MAX_PROMPTS, Mode
from lanhaven.dialects.batch.records import Status
from lanhaven.server.schema.openai_bodies import MODEL, SAMPLING
from lanhaven.server.schema.parts import (
    ANY,
    FLAG,
    FORM,
    NUMBER,
    TEXT,
    WHOLE,
    Body,
    Family,
    Schema,
    Stream,
    listing,
    nullable,
    path_id,
    query,
    record,
    ref,
    told,
    whole,
    whole_record,
    word,
)

FAMILY = Family("batch", "OpenAIError")
TIMES = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")


def _page(name: str) -> Schema:
    ends = {"first_id": nullable(TEXT), "last_id": nullable(TEXT), "has_more": FLAG}
    return whole_record({"object": TEXT, "data": listing(ref(name)), **ends})


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
                "model": nullable(TEXT),
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
        "FileForm": {  # no other fields: generators cannot write forms that are open
            "type": "object",
            "properties": {
                "file": {"type": "string", "format": "binary"},
                "purpose": word("batch"),
                "expires_after[anchor]": word("created_at"),
                "expires_after[seconds]": told(WHOLE, "3600 to 2592000; never longer than `batch_keep`."),
            },
            "required": ["file", "purpose"],
        },
        "File": whole_record(
            {
                "id": TEXT,
                "object": word("file"),
                "filename": TEXT,
                "purpose": word("batch", "batch_output"),
                "bytes": WHOLE,
                "created_at": WHOLE,
                "expires_at": WHOLE,
                "status": TEXT,
            }
        ),
        "FileList": _page("File"),
        "FileDeleted": whole_record({"id": TEXT, "object": word("file"), "deleted": FLAG}),
        "BatchCreate": record(
            {
                "input_file_id": TEXT,
                "endpoint": word(*ENDPOINTS),
                "completion_window": told(TEXT, "Like 24h, 90m, 7d; at most 30d. 24h unless said."),
                "metadata": {"type": "object", "additionalProperties": TEXT, "maxProperties": 16},
                "output_expires_after": record({"anchor": word("created_at"), "seconds": WHOLE}, "anchor", "seconds"),
            },
            "input_file_id",
            "endpoint",
        ),
        "BatchError": record({"code": TEXT, "message": TEXT, "line": nullable(WHOLE), "param": nullable(TEXT)}),
        "BatchErrors": record({"object": TEXT, "data": listing(ref("BatchError"))}),
        "BatchCounts": whole_record({"total": WHOLE, "completed": WHOLE, "failed": WHOLE}),
        "Batch": whole_record(
            {
                "id": TEXT,
                "object": word("batch"),
                "endpoint": TEXT,
                "model": nullable(TEXT),
                "input_file_id": TEXT,
                "output_file_id": nullable(TEXT),
                "error_file_id": nullable(TEXT),
                "completion_window": TEXT,
                "status": word(*Status),
                "errors": nullable(ref("BatchErrors")),
                "request_counts": ref("BatchCounts"),
                "usage": ANY,
                "metadata": nullable(ANY),
                "created_at": WHOLE,
                "expires_at": WHOLE,
                **{f"{name}_at": nullable(WHOLE) for name in TIMES},
            }
        ),
        "BatchList": _page("Batch"),
    }
)  # fmt: skip

PROMPTS = [{"role": "user", "content": text} for text in ("Name three seas.", "Name two rivers.")]
ASK = Body("BatchChatRequest", {"model": "smollm2", "max_tokens": 32, "messages": PROMPTS})

UPLOAD = Body("FileForm", {"purpose": "batch", "file": "one request a line"}, FORM)
CREATE = Body("BatchCreate", {"input_file_id": "file-...", "endpoint": ENDPOINTS[0], "completion_window": "24h"})
FILE, BATCH = path_id("Of a file."), path_id("Of a batch.")
PAGE = [query("limit", WHOLE, "At most so many."), query("after", TEXT, "Those behind this id.")]
ORDER = query("order", word("asc", "desc"), "desc: the newest first.")
PURPOSE = query("purpose", TEXT, "Only those of this purpose.")


def paths() -> dict[str, Any]:
    """Path -> operations. The paths without /v1 are left out: they are the same operations."""
    operation = FAMILY.operation
    call = operation(
        "batch_chat", "Answer many prompts in one call", "BatchChatReply", ASK, stream=Stream("BatchChatEvent")
    )
    return {
        "/v1/batch/chat/completions": {"post": call},
        "/v1/files": {
            "post": operation("upload_file", "Bring the requests of a batch", "File", UPLOAD),
            "get": operation("list_files", "Files of this key", "FileList", parameters=[*PAGE, ORDER, PURPOSE]),
        },
        "/v1/files/{id}": {
            "get": operation("get_file", "One file", "File", parameters=[FILE]),
            "delete": operation("delete_file", "Delete a file", "FileDeleted", parameters=[FILE]),
        },
        "/v1/files/{id}/content": {"get": _content()},
        "/v1/batches": {
            "post": operation("create_batch", "Work through a file", "Batch", CREATE),
            "get": operation("list_batches", "Batches of this key, the newest first", "BatchList", parameters=PAGE),
        },
        "/v1/batches/{id}": {"get": operation("get_batch", "How far a batch is", "Batch", parameters=[BATCH])},
        "/v1/batches/{id}/cancel": {
            "post": operation("cancel_batch", "End a batch early", "Batch", parameters=[BATCH])
        },
    }


def _content() -> Schema:
    operation = FAMILY.operation("get_file_content", "The file itself", None, parameters=[FILE])
    content = {"application/jsonl": {"schema": TEXT}}
    operation["responses"] = {"200": {"description": "The file.", "content": content}} | operation["responses"]
    return operation
