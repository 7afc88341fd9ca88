"""What the tests of the mlx engine share: providers that leave nothing behind, and plain requests to their instances."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lanhaven.engines.process import Timers
from lanhaven.providers.base import Loaded, ModelEntry, ProviderContext
from lanhaven.providers.mlx.provider import MLX
from lanhaven.types.models import LoadConfig, ModelInfo, Upstream
from tests.children import own_children
from tests.providers.llamacpp.llama import Observer, ask

TIMERS = Timers(load_total=None, load_stall=None, probe_every=1.0)
OPTIONS = {"default_slots": 4, "prompt_cache_mib": 32, "engine_stop": 5.0}
SMALL = LoadConfig(context_length=512)


@asynccontextmanager
async def provider(python: Path, **options: Any) -> AsyncIterator[MLX]:
    with TemporaryDirectory(prefix="lh") as name:
        context = ProviderContext("mlx", Path(name), {**OPTIONS, "python": str(python), **options})
        made = MLX(context, timers=TIMERS)
        try:
            yield made
        finally:
            await made.aclose()
            assert not own_children()
            assert not await asyncio.to_thread(lambda: list(Path(name).iterdir()))


def info(made: MLX, folder: Path, **config: Any) -> ModelInfo:
    """As the catalog gives it to a load."""
    settings = {"model_path": str(folder), **config}
    seen = made.describe(ModelEntry("tiny", "mlx", config=settings))
    return ModelInfo("tiny", "mlx", seen.kind, load=seen.load, config=settings)


async def load(made: MLX, folder: Path, config: LoadConfig = SMALL, **settings: Any) -> tuple[Loaded, Observer]:
    observer = Observer()
    return await made.load(info(made, folder, **settings), "tiny", config, observer), observer


async def complete(upstream: Upstream, prompt: str, **fields: Any) -> dict[str, Any]:
    """A text completion, of the likeliest tokens unless said otherwise."""
    body = {"prompt": prompt, "max_tokens": 12, "temperature": 0, **fields}
    status, reply = await ask(upstream, "/v1/completions", body)
    assert status == 200, reply
    assert isinstance(reply, dict)
    return reply


async def text_of(upstream: Upstream, prompt: str, **fields: Any) -> str:
    return str((await complete(upstream, prompt, **fields))["choices"][0]["text"])


async def chat(upstream: Upstream, words: str, **fields: Any) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": words}], "max_tokens": 12, "temperature": 0, **fields}
    status, reply = await ask(upstream, "/v1/chat/completions", body)
    assert status == 200, reply
    assert isinstance(reply, dict)
    return reply


async def refused(upstream: Upstream, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
    status, reply = await ask(upstream, path, body)
    return status, reply["error"]


@asynccontextmanager
async def stream(upstream: Upstream, path: str, **body: Any) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """The chunks of a streamed reply; leaving the context leaves the engine."""
    reader, writer = await asyncio.open_unix_connection(upstream.socket)
    data = json.dumps({"stream": True, "temperature": 0, **body}).encode()
    head = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(data)}"]
    head += [f"{name}: {value}" for name, value in upstream.headers]
    writer.write("\r\n".join([*head, "", ""]).encode() + data)
    try:
        async with aclosing(_chunks(reader)) as chunks:
            yield chunks
    finally:
        writer.close()
        await writer.wait_closed()


async def _chunks(reader: asyncio.StreamReader) -> AsyncGenerator[dict[str, Any]]:
    while line := await reader.readline():
        if line.startswith(b"data: {"):
            yield json.loads(line[6:])
        elif line.startswith(b"data: [DONE]"):
            return
