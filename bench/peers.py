"""The programs that are measured, each as real processes on loopback: LanHaven, nginx, LiteLLM, and the scripted
upstream."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KEY = "sk-lm-benchkey:0123456789abcdef0123"  # of the form that LM Studio's protocol can carry


@dataclass(frozen=True, slots=True)
class Peer:
    """A running program: where it answers chat requests, and the processes whose time counts."""

    name: str
    url: str
    pids: tuple[int, ...]


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes], seconds: float) -> None:
    """Until the address answers anything at all."""
    deadline = time.monotonic() + seconds
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {KEY}"})
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        try:
            urllib.request.urlopen(request, timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"{url} did not answer within {seconds:g} s")


@contextmanager
def started(command: Sequence[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours, ended by its own pid at the end."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **environment}
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def upstream(folder: Path, *options: str) -> Iterator[int]:
    """The scripted upstream; gives its port."""
    port = free_port()
    with started([sys.executable, "-m", "bench.upstream", str(port), *options], folder / "upstream.log") as process:
        wait_for(f"http://127.0.0.1:{port}/v1/models", process, 10)
        yield port


@contextmanager
def nginx(folder: Path, upstream_port: int) -> Iterator[Peer | None]:
    """nginx as a plain reverse proxy with keep-alive to the upstream; None where it is not installed."""
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        yield None
        return
    port, home = free_port(), folder / "nginx"
    home.mkdir(exist_ok=True)
    config = home / "nginx.conf"
    config.write_text(
        f"""daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
  upstream up {{ server 127.0.0.1:{upstream_port}; keepalive 512; }}
  server {{ listen 127.0.0.1:{port}; keepalive_requests 1000000;
    location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_read_timeout 600s; }} }}
}}
"""
    )
    with started([program, "-p", str(home), "-c", str(config)], folder / "nginx.log") as process:
        wait_for(f"http://127.0.0.1:{port}/v1/models", process, 10)
        yield Peer("nginx", f"http://127.0.0.1:{port}/v1/chat/completions", (process.pid,))


@contextmanager
def litellm(folder: Path, upstream_port: int, python: Path | None) -> Iterator[Peer | None]:
    """LiteLLM's proxy from an environment of its own; None where there is none."""
    if python is None:
        yield None
        return
    port, config = free_port(), folder / "litellm.yaml"
    params = {"model": "openai/bench", "api_base": f"http://127.0.0.1:{upstream_port}/v1", "api_key": "none"}
    model = {"model_name": "bench", "litellm_params": params}
    config.write_text(json.dumps({"model_list": [model], "litellm_settings": {"telemetry": False}}))
    command = [str(python.parent / "litellm"), "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]
    quiet = {
        "LITELLM_MASTER_KEY": KEY,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_TELEMETRY": "False",
    }
    with started(command, folder / "litellm.log", **quiet) as process:
        wait_for(f"http://127.0.0.1:{port}/health/liveliness", process, 120)
        yield Peer("LiteLLM", f"http://127.0.0.1:{port}/v1/chat/completions", (process.pid,))


@contextmanager
def lanhaven(folder: Path, models: str, **settings: str) -> Iterator[Peer]:
    """LanHaven as users start it: keys, events and metrics on. `models`: the text of its models.yaml."""
    port, home = free_port(), folder / f"lanhaven-{free_port()}"
    home.mkdir()
    (home / "models.yaml").write_text(models)
    command = [sys.executable, "-m", "lanhaven", "up", "--port", str(port), "--models", str(home / "models.yaml")]
    places = {f"LANHAVEN_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
    with started(command, folder / "lanhaven.log", LANHAVEN_API_KEY=KEY, **places, **settings) as process:
        wait_for(f"http://127.0.0.1:{port}/readyz", process, 60)
        yield Peer("LanHaven", f"http://127.0.0.1:{port}/v1/chat/completions", (process.pid,))


def fronting(port: int, slots: int | None = None) -> str:
    """models.yaml of a LanHaven in front of the scripted upstream."""
    limit = f", slots: {slots}" if slots else ""
    return (
        f"default_model: bench\nmodels:\n  - id: bench\n    provider: openai\n    enabled: true\n"
        f'    config: {{base_url: "http://127.0.0.1:{port}/v1", model: bench{limit}}}\n'
    )
