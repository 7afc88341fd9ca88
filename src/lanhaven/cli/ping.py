"""`ping`: whether a server answers, which one, how fast, and whether it takes our key."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from lanhaven.cli import output
from lanhaven.cli.connection import Json, Key, Server, Url, connect
from lanhaven.cli.failure import CliError, Exit


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `health` is empty where the server has no /health of this kind. Seconds each."""

    health: Mapping[str, Any]
    models: int
    seconds: list[float]

    @property
    def kind(self) -> str:
        """Which program answers, as far as it says."""
        return f"LanHaven {self.health['version']}" if "version" in self.health else "an OpenAI server"


def ping(
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=100, help="How often to ask.")] = 3,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Ask whether the server answers, how fast, and whether the key is good. Works with LM Studio as well."""
    with connect(url, key) as server:
        answer = _ask(server, count)
        target = server.target
    first, rest = answer.seconds[0], answer.seconds[1:] or answer.seconds
    if json:
        output.document(
            {
                "url": target.url,
                "status": answer.health.get("status"),
                "server": answer.kind,
                "version": answer.health.get("version"),
                "lmstudioVersion": answer.health.get("lmstudio_version"),
                "models": answer.models,
                "modelsLoaded": answer.health.get("models_loaded"),
                "latencyMs": {"first": _ms(first), "least": _ms(min(rest)), "mean": _ms(sum(rest) / len(rest))},
            }
        )
        return
    output.pairs(
        [
            ("server", target.url),
            ("answers as", answer.kind),
            ("state", answer.health.get("status")),
            ("LM Studio", answer.health.get("lmstudio_version")),
            ("models", answer.models),
            ("models loaded", answer.health.get("models_loaded")),
            ("first answer", f"{_ms(first)} ms, connecting included"),
            ("latency", f"{_ms(min(rest))} ms at best, {_ms(sum(rest) / len(rest))} ms on average"),
        ]
    )
    if answer.health.get("status") == "degraded":
        output.note("it answers, but no provider of models is available: lanhaven doctor")


def _ask(server: Server, count: int) -> Answer:
    """CliError 3 where nothing answers, 4 where the key is refused."""
    health, first = _timed(server, "/health")
    # LM Studio answers an unknown route with 200 and an error; others with 404: no health, but they are alive.
    known = health if isinstance(health, dict) and "status" in health and "error" not in health else {}
    path = "/health" if known else "/v1/models"
    seconds = [first, *(_timed(server, path)[1] for _ in range(count - 1))]
    listed = server.get("/v1/models")  # needs the key, where there is one
    data = listed.get("data") if isinstance(listed, dict) else None
    if not isinstance(data, list):
        raise CliError(
            f"{server.target.url} answers, but it is no model server",
            "--url with the address of LanHaven or LM Studio",
            "lanhaven doctor",
            status=Exit.FAILED,
        )
    return Answer(known, len(data), seconds)


def _timed(server: Server, path: str) -> tuple[Any, float]:
    began = time.perf_counter()
    try:
        answer = server.get(path)
    except CliError as error:
        if error.status is not Exit.NOT_FOUND:
            raise
        answer = None
    return answer, time.perf_counter() - began


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
