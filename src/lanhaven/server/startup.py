"""From settings to a server that answers, and down again."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from lanhaven import __version__
from lanhaven.config import Settings
from lanhaven.errors import GatewayError
from lanhaven.events import utc_now
from lanhaven.gateway import SHUTDOWN
from lanhaven.keys.exposure import check_bind
from lanhaven.keys.store import KeyStore
from lanhaven.models_file import models_path
from lanhaven.models_file.difference import Difference
from lanhaven.network.addresses import parse
from lanhaven.providers.base import Health
from lanhaven.runfile import RunInfo, remove, write
from lanhaven.server import listener
from lanhaven.server.build import build, sockets_folder
from lanhaven.server.callers import Callers
from lanhaven.server.compose import compose
from lanhaven.server.limits import ListenerLimits
from lanhaven.server.logs import LOGGED, configure, log_events, log_requests
from lanhaven.server.prewarm import prewarm
from lanhaven.server.services import Services
from lanhaven.server.shutdown import Shutdown
from lanhaven.server.sockets import Address, IfTaken
from lanhaven.server.steady import steady_work

UNFIT_TOLD = 10  # models that cannot run, in the banner


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What the banner tells. seconds: from the start of `run` until requests are answered and preloads are done."""

    url: str
    models_file: Path
    models: int
    providers: tuple[tuple[str, Health], ...]
    loaded: tuple[str, ...]
    problems: tuple[str, ...]
    seconds: float
    moved_from_port: int | None
    also: tuple[str, ...] = ()  # further addresses
    keyless: bool = True  # no key is asked for
    token: Callable[[float | None], str | None] = lambda seconds: None
    lan_urls: tuple[str, ...] = ()  # how others reach it, the likeliest first; none if they cannot
    named_url: str | None = None  # by the name that the network was told
    ca: Path | None = None  # the own authority's certificate, which devices must trust

    def link(self, base: str | None = None, seconds: float | None = None) -> str:
        """The dashboard at `base` (else at `url`), with a new token that signs one browser in, within `seconds` if that
        is said."""
        token = self.token(seconds)
        return f"{base or self.url}/" + (f"?token={token}" if token else "")


def serve_until_stopped(settings: Settings, on_ready: Callable[[ServerInfo], None]) -> int:
    """See `lanhaven.server.run`."""
    configure(settings.log_level, settings.log_format, settings.state_dir)
    try:
        listener.run(_serve(settings, on_ready, time.monotonic()))
    finally:
        shutil.rmtree(sockets_folder(settings), ignore_errors=True)
    return 0


async def _serve(settings: Settings, on_ready: Callable[[ServerInfo], None], began: float) -> None:
    shutdown = Shutdown()
    services = build(settings, lambda: shutdown.draining)
    services.bus.listen(log_events, *LOGGED)
    logging.getLogger().addHandler(services.logs.ring)
    if settings.log_level == "debug":
        services.bus.listen(log_requests)
    try:
        keys = KeyStore.from_settings(settings)
        check_bind(settings, keys)
        await services.restore()
        await services.catalog.refresh()
        shutdown.on_abort(lambda: services.gateway.abort_all(SHUTDOWN))
        shutdown.on_drain(services.close_streams)
        tasks: set[asyncio.Task[None]] = set()
        shutdown.on_reload(lambda: _keep(asyncio.create_task(_reload(services)), tasks))
        services.reloading.listen(lambda found: _keep(asyncio.create_task(_load_new(services, found)), tasks))
        await _listen(services, shutdown, keys, on_ready, began)
        keys.flush()
    finally:
        await services.aclose(0 if shutdown.aborted or shutdown.hurried else settings.drain_timeout)
        logging.getLogger().removeHandler(services.logs.ring)


async def _listen(
    services: Services,
    shutdown: Shutdown,
    keys: KeyStore,
    on_ready: Callable[[ServerInfo], None],
    began: float,
) -> None:
    settings = services.settings
    token = secrets.token_urlsafe(32)
    lan = services.lan
    lan.prepare()
    secured = compose(services, keys, token)
    steady = [asyncio.create_task(each) for each in steady_work(services, keys)]
    starting: list[asyncio.Task[None]] = []

    def bound(where: tuple[Address, ...]) -> None:
        trusted = str(lan.trusted_by_us) if lan.trusted_by_us else None
        write(settings.state_dir, RunInfo(where[0].url, os.getpid(), token, __version__, utc_now(), trusted))
        starting.append(asyncio.create_task(_announce(services, where, secured.callers, on_ready, began)))

    try:
        await listener.serve(
            secured,
            addresses(settings),
            ListenerLimits.from_settings(settings),
            on_ready=bound,
            shutdown=shutdown,
            admits=secured.admits_peer,
            tls=lan.certificate.context if lan.certificate is not None else None,
        )
    finally:
        remove(settings.state_dir, os.getpid())
        for task in (*steady, *starting):
            task.cancel()
        await asyncio.gather(*steady, *starting, return_exceptions=True)
        await lan.end()


async def _announce(
    services: Services,
    where: tuple[Address, ...],
    callers: Callers,
    on_ready: Callable[[ServerInfo], None],
    began: float,
) -> None:
    """Load what is to be loaded at the start, then tell that the server is ready."""
    settings = services.settings
    began_lan = asyncio.create_task(services.lan.begin(where))
    await services.pool.sweep()  # what runs elsewhere serves from the start, and need not be loaded
    problems = [*untaken(settings, where), *services.catalog.problems, *unfit(services), *await preload(services)]
    seconds = time.monotonic() - began
    await began_lan
    problems += filter(None, (services.lan.problem,))
    _spare_collector()
    main = where[0]
    moved = settings.port if settings.port not in (0, main.port) else None
    on_ready(
        ServerInfo(
            url=main.url,
            models_file=models_path(settings),
            models=len(services.catalog.models()),
            providers=tuple((await services.health()).items()),
            loaded=tuple(each.instance_id for each in services.pool.instances()),
            problems=tuple(problems),
            seconds=seconds,
            moved_from_port=moved,
            also=tuple(dict.fromkeys(each.url for each in where if each.port != main.port)),
            keyless=callers.anybody,
            token=lambda seconds: callers.link(None, seconds),
            lan_urls=services.lan.urls() if services.lan.open else (),
            named_url=services.lan.named_url,
            ca=services.lan.ca,
        )
    )
    if settings.prewarm:
        await prewarm(services, tuple(services.pool.ids()))


def _spare_collector() -> None:
    """What is in memory by now stays there. Python's collector would look through these 100,000 objects every few
    thousand requests, and answer nobody for 50 ms."""
    gc.collect()
    gc.freeze()


def unfit(services: Services) -> list[str]:
    """The models that cannot run, each with its reason; of many the first ones."""
    models = [each for each in services.catalog.models() if each.unavailable is not None]
    told = [f"{each.key} cannot run: {each.unavailable}" for each in models[:UNFIT_TOLD]]
    more = len(models) - len(told)
    return [*told, f"{more} more cannot run: lanhaven ls"] if more else told


async def preload(services: Services, among: Collection[str] | None = None) -> list[str]:
    """Load the default model and those marked `preload` (S4-25), or those of them that are `among` these; what fails is
    told, and costs nothing else."""
    default = services.catalog.default_model
    wanted = [each for each in services.catalog.models() if each.unavailable is None]
    wanted = [each for each in wanted if each.preload or each.pinned or each.key == default]
    wanted = [each for each in wanted if among is None or each.key in among]
    problems = []
    for info in wanted:
        try:
            result = await services.pool.load(
                info, instance_id=None, config=info.load, sampling=info.sampling, automatic=True, pinned=info.pinned
            )
        except GatewayError as error:
            problems.append(f"{info.key} could not be loaded: {error.message}")
            structlog.get_logger().warning("preload_failed", model=info.key, code=error.code, error=error.message)
            continue
        if info.key == default and (among is None or _is_active(services, default)):
            services.gateway.activate(info.key, result.instance.instance_id)
    return problems


def _is_active(services: Services, key: str) -> bool:
    active = services.catalog.active
    return active is not None and active.model_key == key


def addresses(settings: Settings) -> list[Address]:
    """Where to listen. A port that somebody asked for is that port or nothing; the default one may move on. The further
    ones are other servers' own (11434, 1234), which may run: then this server does without."""
    asked = "port" in settings.model_fields_set or settings.port == 0
    main, *others = (Address(host, port) for host, port in settings.listeners())
    further = [replace(each, if_taken=IfTaken.SKIP) for each in others]
    return [replace(main, if_taken=IfTaken.FAIL if asked else IfTaken.NEXT), *further]


def untaken(settings: Settings, where: tuple[Address, ...]) -> list[str]:
    """Further addresses that could not be had, each with a line for the banner; they are logged too."""
    log = structlog.get_logger()
    problems = []
    for each in addresses(settings)[1:]:
        host = parse(each.host)
        if each.port and not any(each.port == got.port and host in (None, parse(got.host)) for got in where):
            problems.append(f"port {each.port} on {each.host} is taken by another program: not listening there")
            log.warning("address_taken", host=each.host, port=each.port)
    return problems


async def _reload(services: Services) -> None:
    """SIGHUP: read models.yaml again, and ask the providers what they have. A wrong file is told as an event."""
    with suppress(GatewayError):
        await services.reloading.reload()
    await services.catalog.refresh()
    if services.lan.certificate is not None:
        await asyncio.to_thread(services.lan.certificate.refresh)


async def _load_new(services: Services, found: Difference) -> None:
    """What models.yaml wants in memory now and did not before. What fails is logged."""
    await preload(services, among=found.to_load())


def _keep(task: asyncio.Task[None], tasks: set[asyncio.Task[None]]) -> None:
    """Hold a task until it is done: the loop itself holds it weakly."""
    tasks.add(task)
    task.add_done_callback(tasks.discard)
