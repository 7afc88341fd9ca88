"""Run as a program: loads a model in xllamacpp as an engine's child does, asks it, and prints what it saw as JSON.

Its one argument is JSON: {"model", "n_ctx", "n_parallel", "path", "bodies", and any other CommonParams field}.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import Any


def memory(model: str) -> int:
    """Bytes of this process as if no other engine ran: PSS, but model and packages in full. 0 without /proc."""
    smaps = Path("/proc/self/smaps")
    total = 0
    counted = "Pss:"
    for line in smaps.read_text().splitlines() if smaps.exists() else ():
        words = line.split()
        if not words[0].endswith(":"):
            counted = "Rss:" if line.endswith(model) or "/site-packages/" in line else "Pss:"
        elif words[0] == counted:
            total += int(words[1]) * 1024
    return total


def main(settings: dict[str, Any]) -> None:
    import xllamacpp

    model, path, bodies = settings.pop("model"), settings.pop("path"), settings.pop("bodies")
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.ui, params.cors_origins, params.fit_params, params.cache_ram_mib = False, "", False, 0
    for name, value in settings.items():
        setattr(params, name, value)
    server = xllamacpp.Server(params)
    answers = []
    for body in bodies:
        request = urllib.request.Request(server.listening_address + path, json.dumps(body).encode())
        request.add_header("content-type", "application/json")
        with urllib.request.urlopen(request) as reply:
            answers.append(json.loads(reply.read()))
    sys.stdout.write(json.dumps({"memory": memory(model), "answers": answers}) + "\n")
    sys.stdout.flush()
    os._exit(0)  # the destructor of Server can hang


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
