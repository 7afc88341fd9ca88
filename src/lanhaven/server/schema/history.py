"""What the history's and the logs' routes answer."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from lanhaven.history.series import COUNTS, MEASURES, WINDOWS
from lanhaven.server.schema.parts import (
    FLAG,
    NUMBER,
    TEXT,
    WHOLE,
    Schema,
    either,
    listing,
    nullable,
    record,
    ref,
    told,
    whole_record,
    word,
)

_ROW: dict[str, Schema] = {
    "requestId": TEXT,
    "timestamp": told(TEXT, "When it was accepted."),
    "status": word("pending", "completed", "failed", "cancelled"),
    "path": TEXT,
    "dialect": TEXT,
    "model": told(TEXT, "The key of the model; the name that was asked for where there is none."),
    "instance": TEXT,
    "key": told(TEXT, "The name of the key."),
    "streamed": FLAG,
    "timeMs": WHOLE,
    "queueMs": told(WHOLE, "Until it got its instance."),
    "firstTokenMs": WHOLE,
    "promptTokens": WHOLE,
    "completionTokens": WHOLE,
    "tokensPerSecond": told(
        NUMBER, "Of the tokens after the first; of an answer in one piece all, from the instance on."
    ),
    "finishReason": TEXT,
    "error": TEXT,
    "code": TEXT,
    "userAgent": TEXT,
}
_SURE = ("requestId", "timestamp", "status", "path", "dialect", "model")

HISTORY: Mapping[str, Schema] = MappingProxyType(
    {
        "HistorySeries": whole_record(
            {
                "window": word(*WINDOWS),
                "step": told(WHOLE, "Seconds."),
                "times": told(listing(WHOLE), "Seconds since the epoch; all other lists are as long."),
                **dict.fromkeys(COUNTS, listing(WHOLE)),
                **dict.fromkeys(MEASURES, listing(nullable(NUMBER))),
                "models": listing(TEXT),
                "keys": listing(TEXT),
            }
        ),
        "HistoryRequest": record(_ROW, *_SURE),
        "HistoryRequests": record(
            {
                "requests": listing(ref("HistoryRequest")),
                "next": told(TEXT, "`before` of the next page, where there is one."),
            },
            "requests",
        ),
        "UsageRow": record(
            {
                "key": told(TEXT, 'The name of the key; "" for requests without one.'),
                "model": TEXT,
                "day": TEXT,
                **dict.fromkeys(("requests", "errors", "promptTokens", "completionTokens"), WHOLE),
                "firstTokenP50Ms": NUMBER,
                "lastUsed": TEXT,
            },
            *("requests", "errors", "promptTokens", "completionTokens", "lastUsed"),
        ),
        "UsageReport": whole_record({"rows": listing(ref("UsageRow")), "days": WHOLE}),
        "RequestPhase": whole_record(
            {"name": word("queue", "load", "prompt", "generate"), "startMs": WHOLE, "ms": WHOLE}
        ),
        "RequestDetails": record(
            _ROW
            | {
                "phases": listing(ref("RequestPhase")),
                "parameters": told(
                    {"type": "object", "additionalProperties": either(NUMBER, FLAG, TEXT)},
                    "Numbers and switches of the request, and how many messages, tools and images it had.",
                ),
                "address": TEXT,
                "body": word("kept", "off", "gone"),
            },
            *_SURE,
            *("phases", "parameters", "body"),
        ),
        "RequestBody": whole_record({"request": TEXT, "response": TEXT, "truncated": FLAG}),
        "BodiesKept": record(
            {"enabled": FLAG, "until": TEXT, "kept": WHOLE, "bytes": WHOLE}, "enabled", "kept", "bytes"
        ),
        "LogLine": record({"time": TEXT, "level": TEXT, "text": TEXT}, "text"),
        "Log": whole_record({"source": TEXT, "sources": listing(TEXT), "lines": listing(ref("LogLine"))}),
    }
)
