"""Inference as jobs, /api/v1/ai. docs/api.md tells of their events."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lanhaven.server.schema.openai import CHAT, LIST_QUERY
from lanhaven.server.schema.parts import (
    ANY,
    TEXT,
    WHOLE,
    Body,
    Family,
    Schema,
    Stream,
    listing,
    path_id,
    query,
    record,
    ref,
    told,
    whole,
    whole_record,
    word,
)

FAMILY = Family("jobs", "OpenAIError")

SCHEMAS: Mapping[str, Schema] = MappingProxyType(
    {
        "GenerateRequest": told(
            record(
                {
                    "model": TEXT,
                    "prompt": TEXT,
                    "messages": listing(ref("ChatMessage"), minItems=1),
                    "max_tokens": whole(-1, 1 << 30),
                }
            ),
            "`messages`, or a `prompt`; the rest as of a chat.",
        ),
        "JobStarted": whole_record({"job_id": TEXT, "model": TEXT, "created": WHOLE}),
        "JobEvent": whole_record(
            {
                "job_id": TEXT,
                "type": word("chunk", "downgraded", "completed", "failed"),
                "payload": ANY,
            }
        ),
        "JobEnded": whole_record({"job_id": TEXT, "status": word("cancelled", "forgotten")}),
    }
)

JOB = path_id("The job_id of a job.")
SEEN = query("last_event_id", WHOLE, "Only events behind this one; the header Last-Event-ID says the same.")
GENERATE = Body("GenerateRequest", {"model": "smollm2", "prompt": "Name three seas."})


def paths() -> dict[str, Any]:
    """Path -> operations."""
    operation = FAMILY.operation
    events = operation(
        "read_job", "The events of a job", None, stream=Stream("JobEvent", said=""), parameters=[JOB, SEEN]
    )
    events["responses"]["204"] = {"description": "The job is over, and all its events have been seen."}
    return {
        "/api/v1/ai/lmstudio/infer": {
            "post": operation("start_job", "Start a conversation's answer as a job", "JobStarted", CHAT, status="202")
        },
        "/api/v1/ai/lmstudio/stream/{id}": {"get": events},
        "/api/v1/ai/lmstudio/jobs/{id}": {
            "delete": operation("end_job", "End a job, or forget one that is over", "JobEnded", parameters=[JOB])
        },
        "/api/v1/ai/lmstudio/models": {
            "get": operation("list_job_models", "As /v1/models", "ModelList", parameters=LIST_QUERY)
        },
        "/api/v1/ai/generate": {"post": operation("generate", "The whole answer at once", "ChatCompletion", GENERATE)},
    }
