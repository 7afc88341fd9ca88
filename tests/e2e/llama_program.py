"""llama.cpp's server as somebody else's program: `llama_program.py MODEL SOCKET KEY`. It knows nothing of LanHaven."""

from __future__ import annotations

import sys
import threading

import xllamacpp


def main() -> None:
    model, listen, key = sys.argv[1:4]
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_ctx, params.n_parallel, params.n_gpu_layers = 1024, 2, 0
    params.hostnames = [listen]
    params.api_keys = [key]
    params.ui = False
    server = xllamacpp.Server(params)
    sys.stderr.write(f"listening at {server.listening_address}\n")
    threading.Event().wait()


if __name__ == "__main__":
    main()
