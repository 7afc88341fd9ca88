"""llama-server for the tests: its command line, as recorded from the real program, before xllamacpp's own server.

An option that the real one does not know is refused as there. Copied and made executable by `install`.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import threading
from pathlib import Path
from typing import Any

HELP = Path(__file__).with_name("llama-server.help")  # of llama.cpp 0.7.0, build 11669
SWITCHES = frozenset(
    {"--no-ui", "--offline", "--no-context-shift", "--metrics", "--no-slots", "--log-prefix", "--log-timestamps"}
    | {"--embeddings", "--check-tensors"}
)
# Option -> what it is for llamacpp_worker.
VALUES = {
    "--model": "model",
    "--alias": "alias",
    "--host": "listen",
    "--mmproj": "projector",
    "--ctx-size": "n_ctx",
    "--parallel": "n_parallel",
    "--n-gpu-layers": "n_gpu_layers",
    "--threads": "threads",
    "--rope-freq-base": "rope_freq_base",
    "--rope-freq-scale": "rope_freq_scale",
    "--cache-type-k": "kv_type",
    "--batch-size": "n_batch",
    "--ubatch-size": "n_ubatch",
    "--cache-ram": "cache_ram_mib",
    "--pooling": "pooling",
}
FRACTIONS = ("rope_freq_base", "rope_freq_scale")


def install(folder: Path, *, without: str = "", devices: str = "  (none)") -> Path:
    """The program in a folder; `without`: an option that this build does not have; `devices`: what it lists."""
    program = folder / "llama-server"
    root = Path(__file__).parents[3]
    paths = f"sys.path[:0] = [{str(root)!r}, {str(root / 'src')!r}]"
    call = f"from tests.providers.llamacpp.llama_server import main; main({without!r}, {devices!r})"
    program.write_text(f"#!{sys.executable} -P\nimport sys\n{paths}\n{call}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def main(without: str, devices: str) -> None:
    words = sys.argv[1:]
    text = HELP.read_text(encoding="utf-8")
    if without:
        text = re.sub(rf"^.*{re.escape(without)}\b.*$", "", text, flags=re.MULTILINE)
    if words == ["--help"]:
        sys.stdout.write(text)
    elif words == ["--version"]:
        sys.stderr.write("version: 0.7.0 (build 11669, commit test)\n")
    elif words == ["--list-devices"]:
        sys.stdout.write(f"Available devices:\n{devices}\n")
    else:
        serve(read(words, text), text)


def read(words: list[str], text: str) -> dict[str, str]:
    """Options -> values; a switch has none."""
    said: dict[str, str] = {}
    while words:
        option = words.pop(0)
        if not re.search(rf"^(?:--?\S+,?\s+)*{re.escape(option)}(?![\w-])", text, re.MULTILINE):
            sys.exit(f"error: invalid argument: {option}")
        said[option] = "" if option in SWITCHES else words.pop(0)
    return said


def serve(said: dict[str, str], text: str) -> None:
    import xllamacpp

    from lanhaven.engines.llamacpp_worker import _parameters

    settings: dict[str, Any] = {name: said[option] for option, name in VALUES.items() if option in said}
    for name, value in settings.items():
        if name in FRACTIONS:
            settings[name] = float(value)
        elif value.isdecimal():
            settings[name] = int(value)
    settings |= {"embedding": "--embeddings" in said, "api_key": os.environ["LLAMA_API_KEY"]}
    if (template := said.get("--chat-template-file")) is not None:
        settings["chat_template"] = Path(template).read_text(encoding="utf-8")
    elif "LLAMA_ARG_CHAT_TEMPLATE" in os.environ:
        settings["chat_template"] = os.environ["LLAMA_ARG_CHAT_TEMPLATE"]
    if "--flash-attn" in said:
        settings["flash_attention"] = said["--flash-attn"] == "on"
    try:
        server = xllamacpp.Server(_parameters(xllamacpp, settings))
    except RuntimeError:
        sys.exit(1)
    threading.Event().wait()
    del server
