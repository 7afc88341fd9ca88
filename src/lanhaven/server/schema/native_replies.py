"""Replies of the native routes: FastAPI describes their requests; what they answer is a table here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from lanhaven.server.schema.parts import (
    ANY,
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

DEFAULTS = ref("InferenceDefaults")
CONFIG = ref("LoadSettings")

PARTS = ("weights", "projector", "kv", "compute", "promptCache", "engine")

MODELS: Mapping[str, Schema] = MappingProxyType(
    {
        "LoadSettings": told(
            record(
                {
                    "contextLength": WHOLE,
                    "gpu": record({"ratio": NUMBER, "layers": WHOLE}),
                    "cpuThreads": WHOLE,
                    "ropeFrequencyBase": NUMBER,
                    "ropeFrequencyScale": NUMBER,
                    "slots": WHOLE,
                    "flashAttention": FLAG,
                    "kvType": TEXT,
                    "ttlSeconds": NUMBER,
                }
            ),
            "How to load: only what is said.",
        ),
        "InferenceDefaults": told(
            record(
                {
                    **dict.fromkeys(("temperature", "topP", "minP", "repeatPenalty"), NUMBER),
                    **dict.fromkeys(("maxTokens", "topK", "seed"), WHOLE),
                    "stopStrings": listing(TEXT),
                    "stream": FLAG,
                    "contextOverflow": TEXT,
                }
            ),
            "What is filled in where a request is silent: only what is said.",
        ),
        "LoadedInstance": whole_record(
            {
                "path": told(TEXT, "The model key."),
                "identifier": TEXT,
                "provider": TEXT,
                "type": TEXT,
                "state": word("loading", "ready", "draining", "failed"),
                "sizeBytes": WHOLE,
                "contextLength": nullable(WHOLE),
                "slots": nullable(WHOLE),
                "busy": WHOLE,
                "waiting": WHOLE,
                "pinned": FLAG,
                "automatic": FLAG,
                "active": FLAG,
                "idleSeconds": NUMBER,
                "expiresInSeconds": nullable(NUMBER),
                "progress": nullable(NUMBER),
                "stage": nullable(TEXT),
                "loadConfig": CONFIG,
                "defaultInference": DEFAULTS,
                "error": nullable(TEXT),
                "reloadNeeded": told(FLAG, "models.yaml says now that the model is to be loaded otherwise."),
            }
        ),
        "AvailableModel": whole_record(
            {
                "path": told(TEXT, "The model key."),
                "size": WHOLE,
                "type": TEXT,
                "provider": TEXT,
                "format": nullable(TEXT),
                "quantization": nullable(TEXT),
                "architecture": nullable(TEXT),
                "maxContextLength": nullable(WHOLE),
                "layers": nullable(WHOLE),
                "capabilities": listing(TEXT),
                "aliases": listing(TEXT),
                "available": FLAG,
                "unavailableReason": nullable(TEXT),
                "description": nullable(TEXT),
                "default": FLAG,
                "listed": told(FLAG, "It stands in models.yaml; the others are known to their providers."),
                "pinned": FLAG,
                "preload": FLAG,
                "loadConfig": CONFIG,
                "defaultInference": DEFAULTS,
            }
        ),
        "AdminModels": whole_record(
            {"loaded": listing(ref("LoadedInstance")), "downloaded": listing(ref("AvailableModel"))}
        ),
        "IgnoredField": whole_record({"key": TEXT, "reason": TEXT}),
        "ModelLoaded": whole_record(
            {
                "status": word("loaded"),
                "modelKey": TEXT,
                "instanceId": TEXT,
                "activated": FLAG,
                "totalTimeMs": WHOLE,
                "message": TEXT,
                "loadConfig": CONFIG,
                "defaultInference": DEFAULTS,
                "applied": told(ANY, "What the engine was given."),
                "ignored": listing(ref("IgnoredField")),
                "reused": FLAG,
                "sizeBytes": WHOLE,
            }
        ),
        "MemoryParts": whole_record(dict.fromkeys(PARTS, WHOLE)),
        "LoadEstimate": whole_record(
            {
                "modelKey": TEXT,
                "neededBytes": WHOLE,
                "learnt": told(FLAG, "The last real load taught it; else it is computed."),
                "parts": nullable(ref("MemoryParts")),
                "availableBytes": WHOLE,
                "evictableBytes": told(WHOLE, "What would come free if all that may be evicted left."),
                "evicts": told(listing(TEXT), "Instances that would have to leave first."),
                "fits": FLAG,
                "verdict": word("fits", "fits_after_eviction", "does_not_fit"),
                "contextLength": nullable(WHOLE),
                "slots": nullable(WHOLE),
                "largestContextLength": nullable(WHOLE),
                "suggestedContextLength": nullable(WHOLE),
                "ignored": told(listing(ref("IgnoredField")), "What a load would ignore."),
            }
        ),
        "ModelUnloaded": whole_record(
            {
                "status": word("unloaded"),
                "modelKey": TEXT,
                "instanceId": nullable(TEXT),
                "instanceIds": listing(TEXT),
                "totalTimeMs": WHOLE,
                "message": TEXT,
            }
        ),
        "ModelActivated": whole_record(
            {
                "status": word("activated"),
                "modelKey": TEXT,
                "instanceId": TEXT,
                "defaultInference": DEFAULTS,
                "message": TEXT,
            }
        ),
        "EntryChanged": whole_record(
            {
                "status": word("added", "changed", "removed"),
                "modelKey": TEXT,
                "file": told(TEXT, "The models.yaml that was changed."),
                "added": told(listing(TEXT), "Keys of models that can be asked for now."),
                "removed": listing(TEXT),
                "changed": listing(TEXT),
            }
        ),
        "CatalogRefreshed": whole_record(
            {
                "status": word("refreshed"),
                "models": WHOLE,
                "added": told(listing(TEXT), "Keys of models that models.yaml did not list before."),
                "removed": listing(TEXT),
                "changed": listing(TEXT),
                "problems": listing(TEXT),
            }
        ),
        "HeldMemory": whole_record(
            {
                "instanceId": TEXT,
                "modelKey": TEXT,
                "bytes": told(WHOLE, "Of this machine; 0 where a model runs elsewhere, or nobody knows."),
                "state": word("loading", "ready", "draining", "failed"),
            }
        ),
        "Memory": record(
            {
                "totalBytes": WHOLE,
                "freeBytes": WHOLE,
                "availableBytes": told(WHOLE, "What a load may take now."),
                "budgetBytes": told(WHOLE, "What all models together may take."),
                "models": listing(ref("HeldMemory")),
            },
            "totalBytes",
            "freeBytes",
            "availableBytes",
            "models",
        ),
        "DownloadJob": record(
            {
                "jobId": TEXT,
                "status": word("downloading", "completed", "failed"),
                "stage": TEXT,
                "downloadedBytes": WHOLE,
                "totalBytes": WHOLE,
                "secondsLeft": NUMBER,
                "error": TEXT,
            },
            "jobId",
            "status",
            "stage",
            "downloadedBytes",
            "totalBytes",
        ),
        "PackedModel": record(
            {
                "name": TEXT,
                "description": TEXT,
                "license": TEXT,
                "downloadBytes": WHOLE,
                "sizeBytes": WHOLE,
                "here": FLAG,
                "job": ref("DownloadJob"),
            },
            "name",
            "description",
            "license",
            "downloadBytes",
            "sizeBytes",
            "here",
        ),
        "PackedModels": whole_record({"models": listing(ref("PackedModel"))}),
        "EngineLog": whole_record({"instanceId": TEXT, "lines": listing(TEXT)}),
    }
)

LOOKING: Mapping[str, Schema] = MappingProxyType(
    {
        "RequestRecord": record(
            {
                "requestId": TEXT,
                "status": word("pending", "completed", "failed", "cancelled"),
                "timeMs": nullable(WHOLE),
                "timestamp": TEXT,
                "path": nullable(TEXT),
                "model": nullable(TEXT),
                "timeToFirstByteMs": WHOLE,
                "tokenUsage": record(dict.fromkeys(("promptTokens", "completionTokens", "totalTokens"), WHOLE)),
                "error": TEXT,
            },
            "requestId",
            "status",
            "timeMs",
            "timestamp",
        ),
        "ActiveModel": whole_record(
            {"modelKey": nullable(TEXT), "instanceId": nullable(TEXT), "defaultInference": DEFAULTS}
        ),
        "DebugStatus": whole_record(
            {
                "status": word("idle", "loading_model", "unloading_model", "processing_inference"),
                "currentOperation": nullable(ANY),
                "activeModel": ref("ActiveModel"),
                "recentRequests": listing(ref("RequestRecord")),
                "totalRequests": WHOLE,
                "totalErrors": WHOLE,
                "draining": FLAG,
                "leftAlone": told({}, "Models that are not loaded for a while, because loading them failed."),
                "problems": told(listing(TEXT), "What is wrong with models.yaml and with the list of models."),
            }
        ),
        "DebugMetrics": whole_record(
            {
                "modelInfo": ref("ActiveModel"),
                "performance": ANY,
                "recentActivity": record({"last10Requests": listing(ref("RequestRecord"))}),
                "system": ANY,
                "currentOperation": nullable(ANY),
            }
        ),
        "RecentRequests": whole_record({"requests": listing(ref("RequestRecord"))}),
        "DebugEvent": record({"timestamp": TEXT}, "timestamp"),
        "Health": record(
            {
                "status": word("ok", "degraded"),
                "timestamp": TEXT,
                "uptime": NUMBER,
                "uptime_ms": WHOLE,
                "version": TEXT,
                "lmstudio_version": nullable(TEXT),
                "api_version": TEXT,
                "models_loaded": WHOLE,
                "backends": ANY,
            },
            "status",
            "timestamp",
            "uptime",
            "version",
            "models_loaded",
            "backends",
        ),
        "Alive": record({"status": TEXT, "reason": TEXT}, "status"),
        "Capabilities": record(
            {
                "server_version": TEXT,
                "providers": listing(TEXT),
                "endpoints": {"type": "object", "additionalProperties": either(TEXT, FLAG)},
                "features": ANY,
                "limits": ANY,
                "recommendations": ANY,
                "cpu_count": nullable(WHOLE),
            },
            "server_version",
            "endpoints",
            "features",
            "limits",
        ),
        "Performance": whole_record({"metrics": ANY, "recent": listing(ref("RequestRecord"))}),
    }
)
