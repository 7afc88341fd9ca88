"""Checks of settings, models, keys, the server and its neighbours."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lanhaven.cli import neighbours, units
from lanhaven.cli.checks import Check, Level
from lanhaven.cli.checks_engines import llama_cpp
from lanhaven.cli.checks_machine import disk, folders
from lanhaven.cli.connection import Target, connect
from lanhaven.cli.failure import CliError, Exit
from lanhaven.cli.first_run import own_folders
from lanhaven.errors import GatewayError

if TYPE_CHECKING:
    from lanhaven.config import Settings
    from lanhaven.models_file import ModelsFile

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def all_checks(url: str | None, key: str | None) -> Iterator[Check]:
    """Every check of this file, in the order in which one thing needs another."""
    from lanhaven.config import load_settings

    try:
        settings = load_settings()
    except GatewayError as error:
        yield Check("settings", "fail", error.message, error.hint or "lanhaven config show --origin")
        return
    yield Check("settings", "ok", "read without complaint")
    yield from folders(own_folders(settings))
    yield disk(settings.data_dir)
    yield llama_cpp(settings)
    yield from models(settings)
    yield from keys(settings)
    server = running(url, key)
    yield from server
    if server[0].level != "ok":
        yield port(settings)
    yield from firewall(settings)
    yield from others(settings)


def models(settings: Settings) -> Iterator[Check]:
    """models.yaml, and the files that it names."""
    from lanhaven.models_file import models_path, read

    path = models_path(settings)
    try:
        file = read(path)
    except GatewayError as error:
        yield Check("models.yaml", "fail", error.message, error.hint or f"correct {path}")
        return
    enabled = sum(entry.enabled for entry in file.entries)
    if not file.entries:
        yield Check("models.yaml", "warn", f"{path}: no models", "lanhaven get smollm2")
        return
    yield Check("models.yaml", "ok", f"{path}: {len(file.entries)} listed, {enabled} enabled")
    yield from model_files(file)


def model_files(file: ModelsFile) -> Iterator[Check]:
    """Whether the file of each enabled entry is there."""
    from lanhaven.packed import PACKED

    for entry in file.entries:
        named = entry.config.get("model_path")
        if not entry.enabled or not isinstance(named, str | Path):
            continue
        path = Path(named)
        if not path.exists():
            remedy = f"correct model_path of {entry.id} in {file.path}, or set enabled: false"
            packed = next((each.name for each in PACKED.values() if each.file.name == path.name), None)
            if packed is not None:
                remedy = f"lanhaven get {packed}, or {remedy}"
            yield Check("model file", "fail", f"{entry.id}: there is no {path}", remedy)


def keys(settings: Settings) -> Iterator[Check]:
    """Whether strangers could come in."""
    from lanhaven.keys.exposure import UnsafeBind, check_bind
    from lanhaven.keys.store import KeyStore

    listening = ", ".join(f"{host}:{number}" for host, number in settings.listeners())
    try:
        store = KeyStore.from_settings(settings)
        check_bind(settings, store)
    except UnsafeBind as error:
        yield Check("access", "fail", error.message, error.hint)
        return
    except GatewayError as error:
        yield Check("access", "fail", error.message, error.hint or "lanhaven keys ls")
        return
    count = len(store.list())
    if settings.open_to_all and not store.required:
        yield Check("access", "warn", f"{listening}, open to everybody without a key", "lanhaven keys add NAME")
        return
    yield Check("access", "ok", f"{listening}, {'no key needed on this machine' if not count else f'{count} keys'}")


def running(url: str | None, key: str | None) -> list[Check]:
    """Whether the server runs and lets us in; then what it finds wrong with its models."""
    try:
        with connect(url, key) as server:
            health = server.get("/health")
            status = server.get("/debug/status")
            target = server.target
    except CliError as error:
        level: Level = "warn" if error.status is Exit.UNREACHABLE else "fail"
        return [Check("server", level, error.message, error.tries[0])]
    return [_healthy(target, health), *map(_problem, status.get("problems", ()))]


def _problem(text: str) -> Check:
    """The server goes on with what it had; a file that it could not take over must be seen all the same."""
    return Check("models", "warn", text, "lanhaven config check" if text.startswith("models.yaml") else "lanhaven ls")


def _healthy(target: Target, health: dict[str, object]) -> Check:
    uptime = health.get("uptime")
    since = f", up for {units.seconds(uptime)}" if isinstance(uptime, int | float) else ""
    text = f"{target.url} ({target.source}), version {health.get('version')}{since}"
    if health.get("status") != "ok":
        return Check("server", "warn", f"{text}, {health.get('status')}", "lanhaven status")
    return Check("server", "ok", text)


def port(settings: Settings) -> Check:
    """Whether the server could listen where it is told to."""
    host, number = settings.listeners()[0]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
            probe.listen(1)
        except OSError as error:
            text = f"{host}:{number}: {error.strerror}{_holder(number)}"
            return Check("port", "warn", text, "stop that program, or let `lanhaven up` take the next free port")
    return Check("port", "ok", f"{host}:{number} is free")


def _holder(number: int) -> str:
    """The program that listens on a port, where we may know."""
    import psutil

    with suppress(psutil.Error, OSError):
        for each in psutil.net_connections(kind="tcp"):
            if each.status == psutil.CONN_LISTEN and each.laddr.port == number and each.pid:
                return f", by {psutil.Process(each.pid).name()} (process {each.pid})"
    return ""


def firewall(settings: Settings) -> Iterator[Check]:
    """A hint, where other machines are meant to come in: a firewall can only be seen into with root's rights."""
    from lanhaven.network.firewall import hint

    host, number = settings.listeners()[0]
    if host not in LOOPBACK:
        remedy = hint(number) or f"open TCP port {number} in this machine's firewall; none is seen here"
        yield Check("firewall", "ok", "if other machines cannot connect", remedy)


def others(settings: Settings) -> Iterator[Check]:
    """Other model servers on this machine: just told."""
    running = {each.name: each for each in neighbours.found(settings.lmstudio_base_url)}
    for name in neighbours.names(settings.lmstudio_base_url):
        text = f"found at {running[name].url}" if name in running else "does not run here"
        yield Check(name, "ok", text)
