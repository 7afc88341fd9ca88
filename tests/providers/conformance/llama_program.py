"""A llama-server in small, as somebody else might build one: `python llama_program.py MODEL PORT`. It knows no LanHaven."""

from __future__ import annotations

import sys
import threading

import xllamacpp

model, port = sys.argv[1:]
params = xllamacpp.CommonParams()
params.model.path = model
params.hostnames, params.port = ["127.0.0.1"], int(port)
params.n_ctx, params.n_parallel = 8192, 1
params.ui = False
server = xllamacpp.Server(params)
threading.Event().wait()
