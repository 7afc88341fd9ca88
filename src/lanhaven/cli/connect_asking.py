"""What `connect` asks the server: the facts that recipes are filled with, a key for the app, and whether it works."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from lanhaven import runfile
from lanhaven.cli import output
from lanhaven.cli.connection import Server, Target, find, state_folder
from lanhaven.cli.failure import CliError, Exit
from lanhaven.connect.fitness import warnings
from lanhaven.connect.recipe import KEY, NO_KEY, Place, Probe, Recipe
from lanhaven.connect.written import Notes

YOUR_KEY, YOUR_MODEL = "YOUR-KEY", "YOUR-MODEL"
BEGINNING = "sk-"  # of a key; a name should not begin so
CHATTING = frozenset({"llm", "vlm"})


@dataclass(frozen=True, slots=True)
class Connected:
    """A place with a key in it. key: with which the server is asked; known: whether the place has the app's own."""

    place: Place
    key: str | None
    known: bool = True


def server(url: str | None, key: str | None) -> Server:
    """The server meant. A key that is given for the app serves us as well, where we have none."""
    target = find(url, None)
    if target.key is None and _is_secret(key):
        target = replace(target, key=key)
    return Server(target)


def place(server: Server, model: str | None) -> Place:
    """What recipes are filled with. Whoever may not see the admin API learns it from a list; without a key, nothing."""
    url = server.target.url
    try:
        said = server.get("/admin/connect", model=model) if model else server.get("/admin/connect")
    except CliError as error:
        if error.status is not Exit.UNAUTHORISED:
            raise
        if server.target.key is None:
            return Place(url, model or YOUR_MODEL, key_required=True)
        return _from_list(url, server.get("/api/v0/models"), model)
    return Place(
        url=url,
        model=said["model"],
        key_required=said["keyRequired"],
        context=said.get("contextLength"),
        longest=said.get("maxContextLength"),
        tools=said.get("tools"),
        vision=said.get("vision"),
        chat=said["chats"],
        own_ca=said["ownCa"],
    )


def _from_list(url: str, said: Any, model: str | None) -> Place:
    cards = [each for each in said["data"] if each["id"] == model or (model is None and each["type"] in CHATTING)]
    cards.sort(key=lambda each: each["state"] != "loaded")
    if not cards and model is not None:
        raise CliError(f"there is no model {model!r}", "lanhaven ls", status=Exit.NOT_FOUND)
    if not cards:
        return Place(url, YOUR_MODEL, key_required=True)
    card = cards[0]
    return Place(
        url=url,
        model=card["id"],
        key_required=True,
        context=card.get("loaded_context_length"),
        longest=card["max_context_length"],
        tools="tool_use" in card["capabilities"],
        vision="vision" in card["capabilities"],
        chat=card["type"] in CHATTING,
    )


# ---- the key


def keyed(server: Server, recipe: Recipe, place: Place, wish: str | None) -> Connected:
    """The place with the app's key: none where none is needed, else the one that is given, that was made for it before,
    or that is made now; else our own, if it is not that of this run."""
    if not place.key_required:
        return Connected(replace(place, key=NO_KEY), None)
    own, running = server.target.key, runfile.read(state_folder())
    if not any(KEY in each.text for each in recipe.steps(place)):
        return Connected(place, own)
    key = wish if _is_secret(wish) else _made(server, recipe, place, wish)
    if key is None and (running is None or own != running.token):
        key = own
    if key is None:
        return Connected(replace(place, key=YOUR_KEY), None, known=False)
    return Connected(replace(place, key=key), key)


def _is_secret(wish: str | None) -> bool:
    return wish is not None and wish.startswith(BEGINNING)


def _made(server: Server, recipe: Recipe, place: Place, wish: str | None) -> str | None:
    """A key for the app; None if we may not make one."""
    notes, name = Notes(state_folder()), wish or recipe.id
    known = notes.key(name, place.url)
    if known is not None and _works(place.url, known):
        return known
    if server.target.key is None:
        return None
    try:
        said = server.post("/admin/keys", {"name": name, "scopes": ["inference"]})
    except CliError as error:
        if error.status is Exit.UNAUTHORISED and wish is None:
            return None
        raise error.trying(
            f"lanhaven connect {recipe.id} --key OTHER-NAME",
            f'lanhaven connect {recipe.id} --key "$(lanhaven keys rotate {name})"',
        ) from None
    key = str(said["key"])
    notes.keep_key(name, place.url, key)
    output.message(f"made the key {name} for it, good for asking models (lanhaven keys ls)")
    return key


def _works(url: str, key: str) -> bool:
    """False if the key was revoked meanwhile."""
    with Server(Target(url, key, "note")) as server:
        try:
            server.text("GET", "/v1/models")
        except CliError as error:
            if error.status is Exit.UNAUTHORISED:
                return False
            raise
    return True


# ---- whether it works


def warn(recipe: Recipe, connected: Connected) -> None:
    """Say where the model falls short."""
    for each in warnings(recipe, connected.place):
        output.banner([("⚠ ", "yellow"), (each, "")])


def test(recipe: Recipe, connected: Connected) -> None:
    """Send what the app would send. CliError at the first request that is not answered as it should be."""
    place = connected.place
    if not connected.known:
        raise CliError(
            f"not tried out: {place.url} wants a key, and this command has none to make one with",
            f"on the server: lanhaven keys add {recipe.id}",
            f"then here: lanhaven connect {recipe.id} --url {place.url} --key KEY",
            status=Exit.UNAUTHORISED,
        )
    with Server(Target(place.url, connected.key, "option")) as server:
        for probe in recipe.probes(place):
            _try(server, probe, recipe)


def _try(server: Server, probe: Probe, recipe: Recipe) -> None:
    path = probe.path.partition("?")[0]
    output.aside(f"  {path} …", end="\r")  # the first one may have to wait for the model
    begun = time.monotonic()
    try:
        text = server.text(probe.method, probe.path, probe.body)
        if probe.expect not in text:
            raise CliError(f"{probe.name} is not in the reply of {path}", "lanhaven watch", "lanhaven doctor")
    except CliError:
        output.banner([("✗ ", "red"), (f"{path} did not answer as {recipe.name} expects", "")])
        raise
    took = round((time.monotonic() - begun) * 1000)
    output.banner([("✓ ", "green"), (f"{path} answered in {took:,} ms", "")])
