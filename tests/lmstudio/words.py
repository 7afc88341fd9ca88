"""What a scripted LM Studio says: its models and its errors, in the form of the transcripts."""

from __future__ import annotations

from typing import Any

CHAT, SEEING, EMBEDDING = "qwen2.5-7b-instruct", "gemma-3-4b", "text-embedding-nomic-embed-text-v1.5"


def model(key: str, kind: str = "llm", **more: Any) -> dict[str, Any]:
    """One entry of listDownloadedModels."""
    said = {
        "type": kind,
        "modelKey": key,
        "format": "gguf",
        "displayName": key.title(),
        "path": f"publisher/{key}-GGUF/{key}-Q4_K_M.gguf",
        "sizeBytes": 4_000_000,
        "paramsString": "7B",
        "architecture": "qwen2",
        "publisher": "publisher",
        "indexedModelIdentifier": f"publisher/{key}-GGUF/{key}-Q4_K_M.gguf",
        "deviceIdentifier": None,
        "quantization": {"name": "Q4_K_M", "bits": 4},
        "maxContextLength": 32768,
    }
    if kind == "llm":
        said |= {"vision": False, "trainedForToolUse": True}
    return said | more


MODELS = (model(CHAT), model(SEEING, vision=True, trainedForToolUse=False), model(EMBEDDING, "embedding"))


def not_loaded(identifier: str) -> dict[str, Any]:
    """As the transcripts have it."""
    display = {"code": "generic.identifierNotFound", "identifier": identifier}
    title = "Cannot find model instance"
    return {
        "title": title,
        "rootTitle": title,
        "displayData": {**display, "loadedModelsSample": [], "totalLoadedModels": 0},
    }


def no_model(key: str) -> dict[str, Any]:
    """As the transcripts have it."""
    display = {"code": "generic.pathNotFound", "path": key, "availablePathsSample": [], "totalModels": 3}
    title = f'Cannot find a model with path "{key}"'
    return {"title": title, "rootTitle": title, "displayData": display}
