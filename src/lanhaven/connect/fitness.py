"""What an app wants of a model, and where the chosen one falls short."""

from __future__ import annotations

from collections.abc import Sequence

from lanhaven.connect.quoting import command
from lanhaven.connect.recipe import Place, Recipe


def needs(recipe: Recipe) -> list[str]:
    """In short: "tools", "context>=32768"."""
    wanted = recipe.needs
    said = ["tools"] if wanted.tools else []
    return [*said, f"context>={wanted.context}"] if wanted.context else said


def warnings(recipe: Recipe, place: Place) -> list[str]:
    """What would go wrong, or not go well, with this model; a sentence each."""
    notes = [*recipe.notes(place), *_trust(place)]
    if not place.chat:
        return [f"{place.model} is not a model that chats: choose another one.", *notes]
    return [*_context(recipe, place), *_tools(recipe, place), *notes]


def _trust(place: Place) -> Sequence[str]:
    if not place.own_ca or not place.url.startswith("https:"):
        return ()
    told = "The app has to trust this server's own authority"
    return (f"{told} ({place.url}/ca.crt): NODE_EXTRA_CA_CERTS for Node.js, SSL_CERT_FILE for Python.",)


def _context(recipe: Recipe, place: Place) -> Sequence[str]:
    wanted = recipe.needs
    if place.context is None or place.context >= wanted.context:
        return ()
    if place.context <= wanted.prompt:
        fault = f"context {place.context:,}: {recipe.name}'s first prompt alone is about {wanted.prompt:,} tokens"
    else:
        fault = f"context {place.context:,}: {recipe.name} works well with {wanted.context:,}"
    if place.longest is not None and place.longest <= place.context:
        return (f"{fault}; {place.model} has no more: choose a model with a longer context.",)
    longer = min(wanted.context, place.longest or wanted.context)
    return (f"{fault}; load it with: {command('lanhaven', 'load', place.model, '--context', str(longer))}",)


def _tools(recipe: Recipe, place: Place) -> Sequence[str]:
    if not recipe.needs.tools or place.tools is not False:
        return ()
    return (f"{place.model} cannot call tools, and {recipe.name} works by tools.",)
