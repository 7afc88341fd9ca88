"""Puts the parts of a server together from its settings. The only place that knows all of them."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lanhaven.catalog import Catalog
from lanhaven.config import Settings
from lanhaven.config.addresses import is_loopback_host
from lanhaven.downloads import Downloads
from lanhaven.events import EventBus
from lanhaven.gateway import Gateway
from lanhaven.history import History, HistoryLimits
from lanhaven.history.history import FILE_NAME as HISTORY_NAME
from lanhaven.inference import GatewayLimits
from lanhaven.metrics import Metrics
from lanhaven.models_file import ModelsFile, enlist, models_path
from lanhaven.models_file.watched import Watched
from lanhaven.packed import PackedModel, fetch
from lanhaven.providers.base import Provider, ProviderContext, Tell, tell_nobody
from lanhaven.providers.registry import create, provider_names
from lanhaven.reloading import Reloading
from lanhaven.residency.ledger import Ledger
from lanhaven.residency.pool import Pool
from lanhaven.residency.settings import PoolSettings
from lanhaven.server.images import make_images
from lanhaven.server.kept import Kept
from lanhaven.server.lan import Lan
from lanhaven.server.log_lines import Logs
from lanhaven.server.memory import held_bytes, within_budget
from lanhaven.server.operations import HEARD, Operations
from lanhaven.server.services import Services
from lanhaven.server.sessions import Sessions
from lanhaven.store import FILE_NAME, Store
from lanhaven.upstream.pool import Timers, UpstreamClient

OLLAMA_PORT = 11434
RELAYING = frozenset({"openai", "lmstudio", "ollama"})  # providers whose hosts may be LanHavens


def build(settings: Settings, draining: Callable[[], bool]) -> Services:
    """Services for these settings; nothing is loaded and no socket is open yet."""
    clock = time.monotonic
    bus = EventBus()
    metrics = Metrics()
    metrics.hear(bus)
    operations = Operations()
    bus.listen(operations.listen, *HEARD)
    providers = make_providers(settings, bus.emit)
    file = Watched(models_path(settings))
    models = file.read()
    catalog = Catalog(models.entries, providers, default_model=models.default_model)
    free = within_budget(settings.memory_budget, lambda: held_bytes(pool.instances()))
    pool = Pool(
        providers=providers,
        bus=bus,
        settings=pool_settings(settings, models),
        available_memory=free,
        clock=clock,
        find_model=catalog.get,
        owner=catalog.owner,
    )
    metrics.watch(pool.instances)
    client = UpstreamClient(timers(settings))
    limits = GatewayLimits(queue_wait=settings.queue_wait, queue_wait_stream=settings.queue_wait_stream)
    images, store = make_images(settings), Store(settings.data_dir / FILE_NAME)
    sessions = Sessions(time.time)
    gateway = Gateway(catalog, pool, client, bus, limits, clock, images)

    reloading = Reloading(file, catalog, pool, bus, settings.loaded_limit)

    async def register(model: PackedModel, weights: Path) -> None:
        await asyncio.to_thread(enlist, file.path, model.entry(weights), default=model.chats)
        await reloading.reload()

    return Services(
        settings=settings,
        providers=providers,
        catalog=catalog,
        pool=pool,
        client=client,
        images=images,
        bus=bus,
        gateway=gateway,
        metrics=metrics,
        operations=operations,
        store=store,
        history=make_history(settings, metrics, pool, bus),
        logs=Logs(catalog, pool, providers),
        lan=Lan(settings),
        sessions=sessions,
        kept=(kept_lessons(pool.ledger, store), kept_sessions(sessions, store)),
        downloads=Downloads(lambda name, progress: fetch(name, settings.data_dir, progress), register),
        clock=clock,
        started=clock(),
        available_memory=free,
        reloading=reloading,
        draining=draining,
    )


def make_history(settings: Settings, metrics: Metrics, pool: Pool, bus: EventBus) -> History | None:
    """The listener that keeps what went through; None where that is not wanted."""
    if not settings.history:
        return None

    def gauges() -> tuple[int, int, int]:
        instances = pool.instances()
        return metrics.inflight, sum(each.waiting for each in instances), held_bytes(instances)

    limits = HistoryLimits(settings.history_days, settings.history_bytes)
    history = History(settings.data_dir / HISTORY_NAME, limits, gauges)
    history.hear(bus)
    return history


def kept_lessons(ledger: Ledger, store: Store) -> Kept:
    """What loads taught."""
    return Kept(
        "lessons",
        "residency.ledger",
        store,
        changes=lambda: ledger.changes,
        dump=ledger.lessons,
        restore=ledger.restore,
    )


def kept_sessions(sessions: Sessions, store: Store) -> Kept:
    """Who is signed in."""
    return Kept(
        "sessions",
        "ui.sessions",
        store,
        changes=lambda: sessions.changes,
        dump=sessions.dump,
        restore=sessions.restore,
    )


def make_providers(settings: Settings, tell: Tell) -> dict[str, Provider]:
    """Every registered provider; with `mock`, the scripted one takes the place of those that run engines."""
    run_dir = private(sockets_folder(settings))
    scripted = ("mock", "openai", "lmstudio")
    names = scripted if settings.mock else tuple(name for name in provider_names() if name != "mock")
    hop = f"lanhaven-{secrets.token_hex(6)}"  # what this run calls itself towards others
    return {name: create(name, context(settings, name, run_dir, tell, hop)) for name in names}


def sockets_folder(settings: Settings) -> Path:
    """This process's own folder for its engines' sockets."""
    return settings.run_dir / str(os.getpid())


def context(
    settings: Settings, name: str, run_dir: Path, tell: Tell = tell_nobody, hop: str | None = None
) -> ProviderContext:
    """A provider's options: the settings that concern engines, then its own block of config.yaml."""
    general = {
        "default_slots": settings.default_slots,
        "prompt_cache_mib": settings.prompt_cache_mib,
        "engine_stop": settings.engine_stop,
    }
    special: dict[str, Any] = lmstudio_options(settings) if name == "lmstudio" else {}
    if name == "ollama" and any(port == OLLAMA_PORT for _, port in settings.listeners()):
        special = {"no_default": True}  # where Ollama usually is, there are we
    if hop is not None and name in RELAYING:
        special |= {"hop": hop}
    return ProviderContext(name, run_dir, {**general, **special, **settings.providers.get(name, {})}, tell)


def lmstudio_options(settings: Settings) -> dict[str, str]:
    """The LM Studio that is asked: the one somebody named, if any. Never this server, to which the variables of LM
    Studio's clients may well point."""
    url = urlsplit(settings.lmstudio_base_url)
    ourselves = is_loopback_host(url.hostname or "") and url.port in {port for _, port in settings.listeners()}
    if ourselves or "lmstudio_base_url" not in settings.model_fields_set:
        return {} if ourselves else {"default_base_url": settings.lmstudio_base_url}
    return {"base_url": settings.lmstudio_base_url}


def private(folder: Path) -> Path:
    """Create a folder that only this user may enter."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)  # mkdir's mode is cut by the umask, and does not touch a folder that exists
    return folder


def pool_settings(settings: Settings, models: ModelsFile) -> PoolSettings:
    """The pool's figures; models.yaml may set the number of automatic instances where nothing else does."""
    return PoolSettings(
        max_automatic=settings.loaded_limit(models.max_loaded_models),
        queue_depth=settings.queue_depth,
        idle_ttl=settings.idle_ttl,
        drain_timeout=settings.drain_timeout,
        load_timeout=settings.load_timeout,
        load_stall=settings.load_stall,
    )


def timers(settings: Settings) -> Timers:
    """The upstream client's clocks."""
    return Timers(
        connect=settings.upstream_connect,
        first_byte=settings.first_byte_timeout,
        total=settings.proxy_timeout,
        idle=settings.stream_idle,
        stream_total=settings.proxy_stream_timeout,
    )
