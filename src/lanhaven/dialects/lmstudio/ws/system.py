"""The namespace `system`: what is downloaded, which server this is, and what a client may not do to it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import structlog

from lanhaven import __version__
from lanhaven.dialects.base import DialectContext
from lanhaven.dialects.lmstudio.models import find_models, model_info, models
from lanhaven.dialects.lmstudio.ws.endpoint import ADMIN, Channel, ChannelHandler, Peer, Rpc
from lanhaven.dialects.lmstudio.ws.fields import table, text, truth
from lanhaven.errors import Overloaded, UnsupportedFeature
from lanhaven.upstream.via import tellable

MOST_FLAGS = 256
_NUMBERS = re.compile(r"\d+")


class Flags:
    """LM Studio's experiment flags: kept for whoever asks, without a meaning here."""

    def __init__(self, context: DialectContext) -> None:
        self.codes: dict[str, None] = {}

    def set(self, code: str, *, on: bool) -> None:
        if not on:
            self.codes.pop(code, None)
        elif len(self.codes) < MOST_FLAGS:
            self.codes[code[:MOST_FLAGS]] = None
        else:
            raise Overloaded(f"There are {MOST_FLAGS} experiment flags already.", retry=False)


async def list_downloaded_models(peer: Peer, parameter: Any) -> list[dict[str, Any]]:
    """Of both kinds."""
    found = models(peer.context.gateway, client=peer.key_name)
    return [model_info(each) for each in tellable(found, peer.headers)]


async def list_downloaded_model_variants(peer: Peer, parameter: Any) -> list[dict[str, Any]]:
    """A model has one here: each file is a model of its own."""
    name = text(table(parameter), "modelKey")
    return [model_info(each) for each in find_models(peer.context.gateway, name, client=peer.key_name)]


async def version(peer: Peer, parameter: Any) -> dict[str, Any]:
    """LanHaven's own, as the three numbers that clients expect."""
    numbers = [*_NUMBERS.findall(__version__)[:3], "0", "0", "0"]
    return {"version": ".".join(numbers[:3]), "build": 0}


async def info(peer: Peer, parameter: Any) -> dict[str, Any]:
    return {"pid": os.getpid(), "isDaemon": True, "version": __version__}


async def notify(peer: Peer, parameter: Any) -> None:
    """A message for whoever sits before LM Studio; here it is the log's reader."""
    structlog.get_logger().info("notification", title=text(table(parameter), "title"), key=peer.key_name)


async def set_experiment_flag(peer: Peer, parameter: Any) -> None:
    asked = table(parameter)
    peer.state.of(Flags).set(text(asked, "code"), on=truth(asked, "value"))


async def get_experiment_flags(peer: Peer, parameter: Any) -> list[str]:
    return list(peer.state.of(Flags).codes)


async def start_or_stop_server(peer: Peer, parameter: Any) -> None:
    raise UnsupportedFeature(
        "This server is always on: its HTTP routes and these calls come from the same process.",
        hint="its port and addresses are settings of LanHaven",
        retry=False,
    )


async def request_shutdown(peer: Peer, parameter: Any) -> None:
    peer.need(ADMIN)
    raise UnsupportedFeature("LanHaven is stopped where it runs, not by its clients.", retry=False)


async def alive(peer: Peer, channel: Channel, parameter: Any) -> None:
    """Open for as long as the client is there: JavaScript's `whileConnected`."""
    await channel.cancelled.wait()


RPCS: Mapping[str, Rpc] = MappingProxyType(
    {
        "listDownloadedModels": list_downloaded_models,
        "listDownloadedModelVariants": list_downloaded_model_variants,
        "version": version,
        "info": info,
        "notify": notify,
        "setExperimentFlag": set_experiment_flag,
        "getExperimentFlags": get_experiment_flags,
        "startHttpServer": start_or_stop_server,
        "stopHttpServer": start_or_stop_server,
        "requestShutdown": request_shutdown,
    }
)
CHANNELS: Mapping[str, ChannelHandler] = MappingProxyType({"alive": alive})
