"""The child that runs llama-cpp-python: `python -m lanhaven.engines.llama_python.worker`."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from typing import Any

from lanhaven.engines.guard import Parent
from lanhaven.engines.serving.child import Ready, fail, run, versions
from lanhaven.engines.serving.log import Log
from lanhaven.engines.serving.mailbox import Mailbox

PACKAGE = "llama-cpp-python"


def main() -> None:
    parent, log = Parent(), Log()
    settings = parent.settings()
    try:
        from lanhaven.engines.llama_python.loading import devices
    except (ImportError, OSError, RuntimeError) as error:  # the two for a library that does not fit this machine
        fail(parent, log, f"{PACKAGE} cannot be used: {error}")
    facts = {"versions": versions(PACKAGE), "devices": devices()}
    if settings.get("only_devices"):
        parent.say("ready", port=0, **facts)
        threading.Event().wait()
    run(parent, log, settings, partial(_load, facts))


def _load(facts: Mapping[str, object], settings: Mapping[str, Any], mailbox: Mailbox, log: Log) -> Ready:
    from lanhaven.engines.llama_python.embedding import Embedder
    from lanhaven.engines.llama_python.grammar import GBNF
    from lanhaven.engines.llama_python.loading import ends_of, load_model
    from lanhaven.engines.llama_python.prompts import VocabularyPrompts
    from lanhaven.engines.llama_python.steps import Steps, draw, token_of
    from lanhaven.engines.serving.choice import Choice
    from lanhaven.engines.serving.replying import Model
    from lanhaven.engines.serving.service import Service
    from lanhaven.engines.serving.single import Single
    from lanhaven.engines.serving.speech import Plain

    llama = load_model(settings, log)
    context = int(llama.n_ctx())
    computing = Single(mailbox, ends_of(llama), Steps(llama, mailbox), token_of(llama))
    model = Model(
        str(settings["alias"]),
        context,
        VocabularyPrompts(llama, settings.get("chat_template")),
        Plain(),
        computing,
        draw,
    )
    embed = Embedder(llama, str(settings["alias"])) if settings.get("embedding") else None
    service = Service(PACKAGE, model, Choice(), GBNF(llama), embed)
    used = {"context_length": context, "slots": 1, "cpu_threads": int(llama.n_threads)}
    return Ready(service, computing, {"facts": used, **facts})


if __name__ == "__main__":
    main()
