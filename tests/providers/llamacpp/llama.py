"""What the tests of the llama.cpp provider share: an observer, a model as the catalog gives it, a plain HTTP client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lanhaven.engines.process import Timers
from lanhaven.providers.base import ModelEntry
from lanhaven.providers.llamacpp.provider import LlamaCpp
from lanhaven.types.models import LoadConfig, ModelInfo, Upstream

SMALL = LoadConfig(context_length=512, slots=1, cpu_threads=2)
QUICK = Timers(load_total=None, load_stall=None, probe_every=0.1, probe_timeout=0.3)
OPTIONS = {"default_slots": 2, "prompt_cache_mib": 0, "engine_stop": 5.0}


class Observer:
    """What the provider told."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.fractions: list[float] = []
        self.errors: list[Exception] = []
        self.ended = asyncio.Event()
        self.heard: Callable[[str], object] = self.stages.append

    def progress(self, stage: str, fraction: float | None = None) -> None:
        self.heard(stage)
        if fraction is not None:
            self.fractions.append(fraction)

    def gone(self, error: Exception) -> None:
        self.errors.append(error)
        self.ended.set()


def model(provider: LlamaCpp, path: Path, **config: Any) -> ModelInfo:
    """As the catalog gives it to a load."""
    info = provider.describe(ModelEntry("tiny", "llama_cpp", config={"model_path": str(path), **config}))
    return ModelInfo(info.key, info.provider, info.kind, load=info.load, config={"model_path": str(path), **config})


async def ask(upstream: Upstream, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    """One request over the instance's own socket, and its JSON answer."""
    if upstream.socket is not None:
        reader, writer = await asyncio.open_unix_connection(upstream.socket)
    else:
        reader, writer = await asyncio.open_connection("127.0.0.1", int((upstream.base_url or "").rpartition(":")[2]))
    data = json.dumps(body).encode() if body is not None else b""
    head = [
        f"{'POST' if data else 'GET'} {path} HTTP/1.1",
        "Host: x",
        f"Content-Length: {len(data)}",
        "Connection: close",
    ]
    head += [f"{name}: {value}" for name, value in upstream.headers]
    writer.write("\r\n".join([*head, "Content-Type: application/json", "", ""]).encode() + data)
    try:
        answer = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    status, _, rest = answer.partition(b"\r\n\r\n")
    return int(status.split()[1]), json.loads(rest)
