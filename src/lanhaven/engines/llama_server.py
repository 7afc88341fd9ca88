"""A llama-server of somebody's own: what it says of itself, and its command line for the settings of an instance.

Builds differ in what they know: their `--help` is read first, and only what stands there is asked for. Arguments can be
read by every user of a machine, so the key goes by the environment. Checked with llama.cpp 0.7.0 (build 11669).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

KEY_VARIABLE = "LLAMA_API_KEY"
ASK_SECONDS = 30.0  # a GPU runtime takes some
HTTP_THREADS = 32  # beyond one per slot: each waiting connection holds a thread
# Set by us; in `args` they would break what we rely on.
OURS = frozenset({"--model", "-m", "--alias", "-a", "--host", "--port", "--api-key", "--api-key-file", "--api-prefix"})

_FLAG = re.compile(r"--[a-z][a-z0-9-]*")
_HEAD = re.compile(r"(?:--?[A-Za-z][\w-]*(?:,\s+|\s|$))+")  # "-c,    --ctx-size N      size of the prompt context"
_DEVICE = re.compile(r"^\s+(?P<name>\w+): (?P<description>.+) \((?P<total>\d+) MiB, \d+ MiB free\)$", re.MULTILINE)
_VERSION = re.compile(r"version: (?P<version>[^\s(]+)(?: \((?:build )?(?P<build>\w+))?")


@dataclass(frozen=True, slots=True)
class Program:
    """`flags`: the long options it knows. `devices`: as the worker of xllamacpp tells them, but without the CPU."""

    flags: frozenset[str]
    version: str
    devices: tuple[Mapping[str, Any], ...]


def ask(program: str, env: Mapping[str, str]) -> Program:
    """OSError: it cannot be run. ValueError: it is no llama-server; its text says why."""
    help_text = _said(program, "--help", env)
    flags = frozenset(flag for line in help_text.splitlines() if line.startswith("-") for flag in _flags_of(line))
    if not {"--model", "--ctx-size", "--parallel"} <= flags:
        raise ValueError("it is no llama-server: its --help names no --model, --ctx-size and --parallel")
    version = _VERSION.search(_said(program, "--version", env))
    listed = _said(program, "--list-devices", env) if "--list-devices" in flags else ""
    devices = tuple(
        {
            "name": found["name"],
            "description": found["description"],
            "type": "GPU",
            "memory_total": int(found["total"]) << 20,
        }
        for found in _DEVICE.finditer(listed)
    )
    return Program(flags, " ".join(filter(None, version.groups())) if version else "", devices)


def _said(program: str, option: str, env: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            [program, option], env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=ASK_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"it does not answer {option} within {ASK_SECONDS:g} seconds") from None
    text = (done.stdout + done.stderr).decode("utf-8", "replace")
    if done.returncode != 0:
        last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"code {done.returncode}"
        raise ValueError(f"its {option} ends with {how}{f' ({last[:200]})' if last else ''}")
    return text


def _flags_of(line: str) -> list[str]:
    """The options that a line of --help explains, not those that its explanation names."""
    head = _HEAD.match(line)
    return _FLAG.findall(head[0]) if head is not None else []


Words = Callable[[Any], tuple[str, ...]]


def _value(flag: str) -> Words:
    return lambda value: (flag, str(value))


def _switch(flag: str) -> Words:
    return lambda value: (flag,) if value else ()


# Setting (see plan.child_settings) -> ways to say it, the first one first whose option is known. All of a way's options
# must be.
SETTINGS: Mapping[str, tuple[Words, ...]] = MappingProxyType(
    {
        "model": (_value("--model"),),
        "alias": (_value("--alias"),),
        "listen": (_value("--host"),),
        "projector": (_value("--mmproj"),),
        "chat_template_path": (_value("--chat-template-file"),),
        "n_ctx": (_value("--ctx-size"),),
        "n_parallel": (_value("--parallel"),),
        "n_gpu_layers": (_value("--n-gpu-layers"), _value("--gpu-layers")),
        "threads": (lambda value: ("--threads", str(value), "--threads-batch", str(value)),),
        "rope_freq_base": (_value("--rope-freq-base"),),
        "rope_freq_scale": (_value("--rope-freq-scale"),),
        "kv_type": (lambda value: ("--cache-type-k", str(value), "--cache-type-v", str(value)),),
        "flash_attention": (lambda value: ("--flash-attn", "on" if value else "off"),),
        "n_batch": (_value("--batch-size"),),
        "n_ubatch": (_value("--ubatch-size"),),
        "cache_ram_mib": (_value("--cache-ram"),),
        "check_tensors": (_switch("--check-tensors"),),
        "mmap": (
            lambda value: ("--load-mode", "mmap" if value else "none"),
            lambda value: ("--mmap",) if value else ("--no-mmap",),
        ),
        "embedding": (_switch("--embeddings"), _switch("--embedding")),
        "pooling": (_value("--pooling"),),
    }
)
# What llama.cpp does by default and a private engine must not, and a log that tells its stages (llamacpp_worker).
_ALWAYS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("--no-ui",), ("--no-webui",)),
    (("--cors-origins", ""),),
    (("--offline",),),
    (("--fit", "off"),),
    (("--no-context-shift",),),
    (("--metrics",),),
    (("--no-slots",),),
    (("--log-verbosity", "4"), ("--verbosity", "4")),
    (("--log-prefix",),),
    (("--log-timestamps",),),
)


def arguments(settings: Mapping[str, Any], flags: frozenset[str]) -> tuple[list[str], list[str]]:
    """(arguments, settings that were said and that this build has no option for). None leaves a value to llama.cpp."""
    words: list[str] = []
    unknown: list[str] = []
    for name, ways in SETTINGS.items():
        if (value := settings.get(name)) is None:
            continue
        found = next((said for way in ways if _known(said := way(value), flags)), None)
        if found is None:
            unknown.append(name)
        words += found or ()
    for choices in _ALWAYS:
        words += next((said for said in choices if _known(said, flags)), ())
    if "--threads-http" in flags:
        words += ["--threads-http", str(int(settings.get("n_parallel") or 1) + HTTP_THREADS)]
    return words, unknown


def _known(words: tuple[str, ...], flags: frozenset[str]) -> bool:
    return all(word in flags for word in words if _FLAG.fullmatch(word))


def find(program: str, path: str | None) -> Path | None:
    """Where it is; None if there is nothing of this name that can be run."""
    found = shutil.which(str(Path(program).expanduser()) if "/" in program else program, path=path)
    return Path(found) if found is not None else None
