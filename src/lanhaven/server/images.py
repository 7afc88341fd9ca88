"""What reads images, made of the settings."""

from __future__ import annotations

from importlib.util import find_spec
from ipaddress import ip_network
from typing import TYPE_CHECKING

from lanhaven.config import Settings, engine_environment
from lanhaven.engines.interpreter import module_command, module_environment
from lanhaven.media.images import Images
from lanhaven.media.sources import Limits
from lanhaven.media.workers import WorkerPlan, Workers
from lanhaven.network.addresses import Reach, embedded, parse, reach

if TYPE_CHECKING:
    from lanhaven.media.fetch import Admits, Fetcher

WORKER = "lanhaven.media.worker"


def make_images(settings: Settings) -> Images:
    """No process runs and no connection is open until the first image comes."""
    plan = WorkerPlan(module_command(WORKER), module_environment(engine_environment({})))
    limits = Limits(
        most_images=settings.max_images_per_request,
        most_bytes=settings.max_image_bytes,
        most_pixels=settings.max_image_pixels,
        most_request=settings.max_body_bytes,
    )
    return Images(
        Workers(plan),
        limits=limits,
        longest=settings.image_max_side,
        fetcher=_fetcher(settings) if settings.image_hosts else None,
        installed=find_spec("PIL") is not None,
    )


def _fetcher(settings: Settings) -> Fetcher:
    """Imported only where images are fetched: aiohttp takes a tenth of the server's start."""
    from lanhaven.media.fetch import Fetcher

    return Fetcher(settings.image_hosts, admitted(settings.image_networks), most_bytes=settings.max_image_bytes)


def admitted(networks: tuple[str, ...]) -> Admits:
    """Whether images may be fetched from an address: a public one, or one in these networks."""
    inside = tuple(ip_network(each) for each in networks)

    def admits(text: str) -> bool:
        address = parse(text)
        if address is None:
            return False
        return reach(address) is Reach.GLOBAL or any(embedded(address) in each for each in inside)

    return admits
