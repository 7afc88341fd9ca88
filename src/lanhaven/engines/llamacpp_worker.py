"""The child that runs llama.cpp: `python -m lanhaven.engines.llamacpp_worker`.

It turns the settings line into parameters, constructs the server (which loads the model and answers on its socket from
then on) and waits to be ended. llama.cpp runs here and never in the gateway: `Server()` holds the GIL for the whole
load, memory is given back only by the end of a process, and a native abort takes the process with it.

It is ended by a signal or by the end of its standard input, never by Server's destructor: with requests queued that
hangs (10 of 10 runs, xllamacpp 2026.10).
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from lanhaven.engines.guard import SPUN, Parent

STEP = 0.5  # seconds
SPIN_SECONDS = 15.0  # of CPU; the longest prompts need some for their tokens
# Of the text for Prometheus: counters that move while a slot works; last how many requests do, and how many wait.
_WORK = re.compile(r"\bllamacpp:(?:prompt_tokens_total|n_decode_total|requests_processing|requests_deferred) (\d+)")
HTTP_THREADS = 32  # beyond one per slot: each waiting connection holds a thread, and a probe without one looks hung


def main() -> None:
    parent = Parent()
    settings = parent.settings()
    try:
        import xllamacpp
    except ImportError as error:
        parent.say("failed", message=str(error))
        sys.exit(1)
    if settings.get("only_devices"):
        parent.say("ready", port=0, devices=_devices(xllamacpp))
        threading.Event().wait()
    try:
        server = xllamacpp.Server(_parameters(xllamacpp, settings))
    except (RuntimeError, TypeError, ValueError) as error:  # the cause stands on standard error
        parent.say("failed", message=str(error))
        sys.exit(1)  # the end of the interpreter flushes llama.cpp's log, os._exit would not
    parent.say("ready", port=_port(server.listening_address), devices=_devices(xllamacpp))
    end_when_spinning(server.handle_metrics)


def end_when_spinning(
    metrics: Callable[[], Any], seconds: float = SPIN_SECONDS, cpu: Callable[[], float] = time.process_time
) -> None:
    """Ends the process if llama.cpp computes and computes while no slot works: a hostile chat template does that, in a
    thread that nobody can end, for a request whose client may have left long ago (F-171). Otherwise never returns.

    metrics: its text for Prometheus, asked only while it uses the CPU. cpu: seconds of CPU that it has used.
    """
    spun, told = 0.0, ""
    while True:
        before, seen = cpu(), told
        time.sleep(STEP)
        spent = cpu() - before
        if spent < STEP / 50:
            spun = 0.0
            continue
        told = " ".join(_WORK.findall(str(metrics())))
        working = told != seen or not told.endswith(" 0 0")
        spun = 0.0 if working else spun + spent
        if spun >= seconds:
            sys.stderr.write(f"{spun:.0f} s of CPU and no slot at work: most likely the chat template does not end\n")
            sys.stderr.flush()
            os._exit(SPUN)


def _devices(xllamacpp: Any) -> list[dict[str, Any]]:
    """What llama.cpp can compute on: name, description, type ("CPU", "GPU", "IGPU", "ACCEL") and bytes of memory."""
    return [
        {
            "name": each["name"],
            "description": each["description"],
            "type": each["type"].name.rpartition("_")[2],
            "memory_total": each["memory_total"],
        }
        for each in xllamacpp.get_device_info()
    ]


def _port(address: str) -> int:
    """0 for a unix socket."""
    port = address.rpartition(":")[2]
    return int(port) if port.isdecimal() else 0


def _parameters(xllamacpp: Any, settings: Mapping[str, Any]) -> Any:
    """`settings` as CommonParams. A setting that is None is left to llama.cpp."""
    params = xllamacpp.CommonParams()
    _shut_doors(params)
    for name, value in settings.items():
        if value is not None and name in SETTERS:
            SETTERS[name](xllamacpp, params, value)
    params.n_threads_http = params.n_parallel + HTTP_THREADS
    return params


def _shut_doors(params: Any) -> None:
    """What llama.cpp does by default and a private engine must not: web page, any Origin, the hub, sizes of its own."""
    params.ui = False
    params.cors_origins = ""
    params.offline = True
    params.fit_params = False  # it loads everything once for measuring, and overrides what was asked for
    params.ctx_shift = False  # it would drop the middle of a conversation, without a word, and go on
    params.endpoint_metrics = True
    params.endpoint_slots = False  # shows prompts
    params.verbosity = 4  # 3 leaves out buffer sizes and stages, 5 writes prompts


Setter = Callable[[Any, Any, Any], None]


def _plain(attribute: str) -> Setter:
    return lambda xllamacpp, params, value: setattr(params, attribute, value)


def _kv_type(xllamacpp: Any, params: Any, value: str) -> None:
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type[f"GGML_TYPE_{value.upper()}"]


def _threads(xllamacpp: Any, params: Any, value: int) -> None:
    """Both: else the prompt is processed with the default number."""
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = value


def _flash_attention(xllamacpp: Any, params: Any, value: bool) -> None:
    params.flash_attn_type = xllamacpp.llama_flash_attn_type(1 if value else 0)


def _pooling(xllamacpp: Any, params: Any, value: str) -> None:
    params.pooling_type = xllamacpp.llama_pooling_type[f"LLAMA_POOLING_TYPE_{value.upper()}"]


def _mmap(xllamacpp: Any, params: Any, value: bool) -> None:
    params.load_mode = xllamacpp.llama_load_mode[f"LLAMA_LOAD_MODE_{'MMAP' if value else 'NONE'}"]


def _model(xllamacpp: Any, params: Any, value: str) -> None:
    params.model.path = value


def _projector(xllamacpp: Any, params: Any, value: str) -> None:
    params.mmproj.path = value


def _alias(xllamacpp: Any, params: Any, value: str) -> None:
    """Without one, replies name the model by its path."""
    params.model_alias = [value]


def _key(xllamacpp: Any, params: Any, value: str) -> None:
    params.api_keys = [value]


def _listen(xllamacpp: Any, params: Any, value: str) -> None:
    """The path of a unix socket (it must end in ".sock"), or an address here; the system chooses the port."""
    params.hostnames = [value]
    params.port = 0


SETTERS: Mapping[str, Setter] = MappingProxyType(
    {
        "model": _model,
        "projector": _projector,
        "alias": _alias,
        "api_key": _key,
        "listen": _listen,
        "threads": _threads,
        "kv_type": _kv_type,
        "flash_attention": _flash_attention,
        "pooling": _pooling,
        "mmap": _mmap,
        **{
            name: _plain(name)
            for name in (
                *("n_ctx", "n_parallel", "n_batch", "n_ubatch", "n_gpu_layers", "rope_freq_base", "rope_freq_scale"),
                *("embedding", "chat_template", "cache_ram_mib", "check_tensors"),
            )
        },
    }
)

if __name__ == "__main__":
    main()
