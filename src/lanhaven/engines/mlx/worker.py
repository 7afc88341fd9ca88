"""The child that runs MLX: `python -m lanhaven.engines.mlx.worker`."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from lanhaven.engines.guard import Parent
from lanhaven.engines.serving.bad import BadRequest
from lanhaven.engines.serving.child import Ready, fail, run, versions
from lanhaven.engines.serving.log import Log
from lanhaven.engines.serving.mailbox import Mailbox

PACKAGES = ("mlx-lm", "mlx-vlm", "mlx")
NO_EMBEDDINGS = "this model does not support embeddings: it is made to write"


def main() -> None:
    parent, log = Parent(), Log()
    settings = parent.settings()
    try:
        import mlx.core as mx
        import mlx_lm  # noqa: F401 - whether it is whole
    except ImportError as error:
        fail(parent, log, f"mlx-lm cannot be used: {error}")
    facts = {"versions": versions(*PACKAGES), "devices": [_device(mx)]}
    if settings.get("only_devices"):
        parent.say("ready", port=0, **facts)
        threading.Event().wait()
    run(parent, log, settings, partial(_load, facts))


def _device(mx: Any) -> dict[str, Any]:
    told = mx.device_info()
    gpu = mx.default_device() == mx.Device(mx.gpu)
    name = str(told.get("device_name") or told.get("architecture") or "MLX")
    return {"type": "GPU" if gpu else "CPU", "description": name, "memory_total": int(told.get("memory_size") or 0)}


def _load(facts: Mapping[str, object], settings: Mapping[str, Any], mailbox: Mailbox, log: Log) -> Ready:
    from lanhaven.engines.mlx.embedding import Embedder
    from lanhaven.engines.mlx.grammar import TokenGrammars
    from lanhaven.engines.mlx.loading import defaults_of, load_model
    from lanhaven.engines.mlx.sampling import draw
    from lanhaven.engines.mlx.speech import MarkedWords
    from lanhaven.engines.serving.replying import Model
    from lanhaven.engines.serving.service import Service

    loaded = load_model(settings, mailbox, log)
    tokenizer = loaded.tokenizer
    model = Model(
        str(settings["alias"]),
        int(settings["context"]),
        loaded.prompts,
        MarkedWords.of(tokenizer),
        loaded.computing,
        draw,
    )
    grammars = TokenGrammars(tokenizer._tokenizer, loaded.ends)  # llguidance wants Hugging Face's own
    embed = Embedder(model.alias, model.prompts, model.computing, model.context) if loaded.embeds else _no_embeddings
    defaults = defaults_of(Path(settings["model"]))
    service = Service("mlx", model, defaults, grammars, embed, writes=not loaded.embeds)
    known = {"tools": bool(tokenizer.has_tool_calling), "thinks": bool(tokenizer.has_thinking)}
    told = {**loaded.facts, **known, **facts}
    return Ready(service, loaded.computing, told)


async def _no_embeddings(body: Mapping[str, Any]) -> NoReturn:
    raise BadRequest(NO_EMBEDDINGS, 501)


if __name__ == "__main__":
    main()
