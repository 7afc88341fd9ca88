"""An engine child of a LanHaven, as a program that somebody starts by hand: `python engine_child.py MODEL SOCKET`.

Its settings are a line on its standard input, which stays open for as long as it runs, because it holds the other end.
"""

from __future__ import annotations

import json
import os
import sys

model, socket = sys.argv[1:]
settings = {"parent": 0, "die_with_parent": False, "model": model, "listen": socket, "n_ctx": 8192, "n_parallel": 1}
ours, theirs = os.pipe()
os.write(theirs, json.dumps(settings).encode() + b"\n")
os.dup2(ours, 0)
os.set_inheritable(theirs, True)
os.execv(sys.executable, [sys.executable, "-P", "-m", "lanhaven.engines.llamacpp_worker"])  # noqa: S606 - it becomes the child
