"""What FastAPI does not know of the native routes: their replies, their errors, and bodies that work."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lanhaven.server.schema.connect import CONNECT
from lanhaven.server.schema.entry import ENTRY
from lanhaven.server.schema.history import HISTORY
from lanhaven.server.schema.keys import KEYS
from lanhaven.server.schema.lan import LAN
from lanhaven.server.schema.native_replies import LOOKING, MODELS
from lanhaven.server.schema.parts import TEXT, WHOLE, Schema, Stream, contents, either, json_of, listing, record, ref

SCHEMAS: Mapping[str, Schema] = MappingProxyType(
    {
        **MODELS,
        **LOOKING,
        **HISTORY,
        **CONNECT,
        **ENTRY,
        **KEYS,
        **LAN,
        "NativeError": record({"error": TEXT, "code": TEXT, "hint": TEXT}, "error"),
        "Issue": record(
            {
                "code": TEXT,
                "expected": TEXT,
                "received": TEXT,
                "path": listing(either(TEXT, WHOLE)),
                "message": TEXT,
            },
            "code",
            "path",
            "message",
        ),
        "ValidationFailed": record({"error": TEXT, "details": listing(ref("Issue"))}, "error", "details"),
    }
)

# Operation -> schema of its reply.
REPLIES: Mapping[str, str] = MappingProxyType(
    {
        "admin_models": "AdminModels",
        "admin_load": "ModelLoaded",
        "admin_estimate": "LoadEstimate",
        "admin_unload": "ModelUnloaded",
        "admin_activate": "ModelActivated",
        "admin_refresh": "CatalogRefreshed",
        "admin_keep": "LoadedInstance",
        "admin_memory": "Memory",
        "admin_downloads": "PackedModels",
        "admin_add": "EntryChanged",
        "admin_edit": "EntryChanged",
        "admin_remove": "EntryChanged",
        "admin_logs": "EngineLog",
        "admin_connect": "ConnectApps",
        "admin_keys": "ApiKeys",
        "admin_add_key": "NewApiKey",
        "admin_change_key": "ApiKey",
        "admin_rotate_key": "NewApiKey",
        "debug_status": "DebugStatus",
        "debug_metrics": "DebugMetrics",
        "debug_recent": "RecentRequests",
        "debug_series": "HistorySeries",
        "debug_requests": "HistoryRequests",
        "debug_usage": "UsageReport",
        "debug_request": "RequestDetails",
        "debug_body": "RequestBody",
        "debug_bodies": "BodiesKept",
        "admin_set_bodies": "BodiesKept",
        "debug_logs_of": "Log",
        "info_health": "Health",
        "info_livez": "Alive",
        "info_readyz": "Alive",
        "info_capabilities": "Capabilities",
        "info_performance": "Performance",
        "ui_session": "BrowserSession",
        "ui_link": "DashboardLink",
        "lan_lan": "Lan",
    }
)
OTHERS: Mapping[str, Schema] = MappingProxyType(
    {
        "debug_stream": contents(None, Stream("DebugEvent", said="Live.")),
        "debug_logs_stream": contents(None, Stream("LogLine", said="Live.")),
        "info_metrics": {"text/plain": {"schema": TEXT}},
        "lan_code": {"image/svg+xml": {"schema": TEXT}},
        "lan_authority": {"application/x-x509-ca-cert": {"schema": TEXT}},
    }
)
# Operation -> a body that works on a server that has this model (and, to unload or activate it, has loaded it).
EXAMPLES: Mapping[str, Schema] = MappingProxyType(
    {
        "admin_load": {"modelKey": "smollm2", "loadConfig": {"contextLength": 2048}},
        "admin_estimate": {"modelKey": "smollm2", "loadConfig": {"contextLength": 2048}},
        "admin_activate": {"modelKey": "smollm2", "defaultInference": {"temperature": 0.2}},
        "admin_unload": {"modelKey": "smollm2"},
        "admin_edit": {"modelKey": "smollm2", "changes": {"ttl": "30m", "defaults": {"temperature": 0.2}}},
        "admin_keep": {"modelKey": "smollm2", "pinned": True, "ttlSeconds": 1800},
        "admin_add": {"modelKey": "qwen3-32b", "baseUrl": "http://192.168.1.30:8000", "model": "Qwen/Qwen3-32B-AWQ"},
        "admin_remove": {"modelKey": "old-model"},
        "admin_set_bodies": {"enabled": True, "minutes": 15},
        "admin_add_key": {"name": "laptop", "models": ["smollm2", "qwen*"], "limits": {"requestsPerMinute": 60}},
        "admin_change_key": {"networks": ["192.168.1.0/24"], "limits": {"tokensPerDay": 100000}},
        "admin_rotate_key": {"graceSeconds": 600},
        "ui_sign_in": {"key": "sk-lan-a-key-of-this-server"},
    }
)


def complete(operation: dict[str, Any]) -> None:
    """Add to an operation what is known of it here. KeyError for one whose reply nobody has described."""
    name, replies = operation["operationId"], operation["responses"]
    _tell_errors(replies)
    done = next(status for status in replies if status < "300")
    if done != "204":
        replies[done]["content"] = OTHERS[name] if name in OTHERS else json_of(REPLIES[name])
    if name in EXAMPLES:
        operation["requestBody"]["content"]["application/json"]["example"] = EXAMPLES[name]


def _tell_errors(responses: dict[str, Any]) -> None:
    """FastAPI promises a 422 where native.py answers 400 with other fields (S0-74)."""
    if responses.pop("422", None) is not None:
        wrong = either(ref("ValidationFailed"), ref("NativeError"))
        responses["400"] = {"description": "A field is missing or wrong.", "content": json_of(wrong)}
    for status, reply in responses.items():
        if status >= "400" and "content" not in reply:
            responses[status] = _reply(reply["description"], "NativeError")
    responses["default"] = _reply("An error.", "NativeError")


def _reply(description: str, schema: str) -> dict[str, Any]:
    return {"description": description, "content": json_of(schema)}
