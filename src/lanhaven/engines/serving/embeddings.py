"""What /v1/embeddings answers, of whichever engine."""

from __future__ import annotations

import base64
from array import array
from collections.abc import Mapping, Sequence
from typing import Any


def listed(alias: str, vectors: Sequence[Sequence[float]], tokens: int, body: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI's list, in the form that `body` asks for. tokens: of all inputs together."""
    packed = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": place, "embedding": _packed(vector) if packed else vector}
        for place, vector in enumerate(vectors)
    ]
    return {"object": "list", "model": alias, "data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(array("f", vector).tobytes()).decode()
