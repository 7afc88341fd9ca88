"""A scripted server with two models, and the command line pointed at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.scripted import Cli, Scripted, scripted


def model(path: str, **fields: Any) -> dict[str, Any]:
    """An entry of `downloaded`."""
    return {
        "path": path,
        "size": 98_362_432,
        "type": "llm",
        "provider": "llama_cpp",
        "format": "gguf",
        "quantization": "Q4_1",
        "architecture": "llama",
        "maxContextLength": 8192,
        "layers": 30,
        "capabilities": ["chat", "completion"],
        "aliases": [],
        "available": True,
        "unavailableReason": None,
        "description": "",
        "default": False,
        **fields,
    }


def instance(identifier: str, path: str, **fields: Any) -> dict[str, Any]:
    """An entry of `loaded`."""
    return {
        "path": path,
        "identifier": identifier,
        "provider": "llama_cpp",
        "type": "llm",
        "state": "ready",
        "sizeBytes": 128_000_000,
        "contextLength": 8192,
        "slots": 4,
        "busy": 1,
        "waiting": 0,
        "pinned": False,
        "automatic": True,
        "active": False,
        "idleSeconds": 3.5,
        "expiresInSeconds": 1740.0,
        "progress": None,
        "stage": None,
        "loadConfig": {"contextLength": 8192},
        "defaultInference": {},
        "error": None,
        **fields,
    }


MODELS = {
    "loaded": [instance("small", "smollm2", active=True)],
    "downloaded": [
        model("smollm2", aliases=["tiny"], default=True),
        model("org/qwen3-8b", size=0, provider="openai", quantization=None, maxContextLength=None),
        model("broken", available=False, unavailableReason="the file is cut off"),
    ],
}
HEALTH = {
    "status": "ok",
    "timestamp": "2026-11-21T10:30:00Z",
    "uptime": 3600.5,
    "uptime_ms": 3600500,
    "version": "0.1.0",
    "lmstudio_version": None,
    "api_version": "v1",
    "models_loaded": 1,
    "backends": {"llama_cpp": {"ok": True, "kind": "engine", "version": "1", "latency_ms": 0.1, "detail": "2 threads"}},
}
STATUS: dict[str, Any] = {
    "status": "idle",
    "currentOperation": None,
    "activeModel": {"modelKey": "smollm2", "instanceId": "small", "defaultInference": {}},
    "recentRequests": [],
    "totalRequests": 42,
    "totalErrors": 1,
    "draining": False,
}


@pytest.fixture
def server() -> Iterator[Scripted]:
    """A server with two models, one of them in memory."""
    with scripted() as server:
        server.says("GET", "/admin/models", MODELS)
        server.says("GET", "/health", HEALTH)
        server.says("GET", "/debug/status", STATUS)
        yield server


@pytest.fixture
def alone(tmp_path: Path) -> Cli:
    """The command line with an empty home and no server named."""
    return Cli(tmp_path)


@pytest.fixture
def cli(tmp_path: Path, server: Scripted) -> Cli:
    """The command line, told by the environment where the scripted server is."""
    return Cli(tmp_path, {"LANHAVEN_URL": server.url})
