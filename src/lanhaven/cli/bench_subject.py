"""What `bench` measures: the model meant, in memory, with all that is known of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lanhaven.cli import output
from lanhaven.cli.connection import Server
from lanhaven.cli.failure import CliError, Exit
from lanhaven.cli.load import bring
from lanhaven.cli.models import not_found, pick

EMBEDDING = "embedding"
CHATS = frozenset({"llm", "vlm"})


@dataclass(frozen=True, slots=True)
class Subject:
    """`name`: as requests name it. What is not known is None: a key that may only ask models is told less, and a server
    that is not LanHaven tells less. load_seconds: if it was loaded for this."""

    name: str
    kind: str
    provider: str | None = None
    instances: tuple[str, ...] = ()
    context: int | None = None
    longest: int | None = None  # context that the model could have
    slots: int | None = None
    busy: int = 0
    load_seconds: float | None = None

    @property
    def embeds(self) -> bool:
        return self.kind == EMBEDDING


@contextmanager
def in_memory(server: Server, name: str, *, keep: bool) -> Iterator[Subject]:
    """The model that `name` means. If it has to be loaded for this, it is unloaded at the end, unless `keep`.

    CliError: 5 no such model, 6 it cannot run, 2 it is neither for chat nor for embeddings.
    """
    listed = _listed(server)
    if listed is None:
        yield _from_cards(server, name)
        return
    info = pick(listed, name)
    _check(name, info["type"])
    if not info["available"]:
        raise CliError(f"{name} cannot run: {info['unavailableReason']}", f"lanhaven show {name}", status=Exit.MODEL)
    found = _ready(listed, info, name)
    if found:
        yield _subject(name, info, found)
        return
    reply = bring(server, {"modelKey": info["path"], "activate": False})
    try:
        found = _ready(server.get("/admin/models"), info, reply["instanceId"])
        yield _subject(name, info, found, reply["totalTimeMs"] / 1000)
    finally:
        if not keep:
            _unload(server, {"modelKey": info["path"], "instanceId": reply["instanceId"]})


def _listed(server: Server) -> Mapping[str, Any] | None:
    """What is there and what is in memory; None where that is not told."""
    try:
        listed = server.get("/admin/models")
    except CliError as error:
        if error.status not in (Exit.UNAUTHORISED, Exit.NOT_FOUND):
            raise
        return None
    return listed if isinstance(listed, dict) and "downloaded" in listed else None


def _from_cards(server: Server, name: str) -> Subject:
    """By the list that every key may see and every server has; the first request loads the model."""
    page = server.get("/v1/models")
    cards = {str(each["id"]): each for each in (page.get("data") if isinstance(page, dict) else None) or ()}
    card = cards.get(name)
    if card is None:
        raise not_found(name, list(cards))
    kind = card.get("kind") or "llm"
    _check(name, kind)
    return Subject(name, kind, card.get("owned_by"), context=card.get("loaded_context_length"))


def _check(name: str, kind: str) -> None:
    if kind not in CHATS and kind != EMBEDDING:
        raise CliError(
            f"{name} is a {kind}: bench measures models that chat and models that embed",
            "lanhaven ls",
            status=Exit.USAGE,
        )


def _ready(listed: Mapping[str, Any], info: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Those in memory that requests for `name` may go to."""
    ready = [each for each in listed["loaded"] if each["path"] == info["path"] and each["state"] == "ready"]
    return [each for each in ready if each["identifier"] == name != info["path"]] or ready


def _subject(
    name: str, info: Mapping[str, Any], found: list[Mapping[str, Any]], load_seconds: float | None = None
) -> Subject:
    contexts = [each["contextLength"] for each in found if each["contextLength"]]
    slots = [each["slots"] for each in found]
    return Subject(
        name=name,
        kind=info["type"],
        provider=info["provider"],
        instances=tuple(each["identifier"] for each in found),
        context=min(contexts, default=None),
        longest=info["maxContextLength"],
        slots=sum(slots) if all(slots) else None,
        busy=sum(each["busy"] for each in found),
        load_seconds=load_seconds,
    )


def _unload(server: Server, target: Mapping[str, Any]) -> None:
    try:
        server.post("/admin/models/unload", target, timeout=None)
    except CliError as error:
        output.note(f"{target['instanceId']} stays in memory: {error.message}")
