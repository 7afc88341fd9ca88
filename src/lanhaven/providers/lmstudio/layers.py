"""How many layers a model has: LM Studio does not tell, the header of its file does, where it lies on this machine."""

from __future__ import annotations

import asyncio
from pathlib import Path

from lanhaven.errors import GatewayError
from lanhaven.formats.gguf_model import describe_gguf


async def layers_of(folder: Path | None, path: str) -> int | None:
    """`path`: below LM Studio's folder of models. None where there is no file that says it."""
    if folder is None or not path:
        return None
    return await asyncio.to_thread(_read, folder, path)


def _read(folder: Path, path: str) -> int | None:
    try:
        root = folder.resolve()
        file = (root / path).resolve()
        return describe_gguf(file).layers if file.is_relative_to(root) and file.is_file() else None
    except (GatewayError, OSError, ValueError):
        return None
