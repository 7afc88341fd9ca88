"""Automation: Home Assistant, n8n."""

from __future__ import annotations

from collections.abc import Sequence

from lanhaven.connect import probes
from lanhaven.connect.notes import elsewhere
from lanhaven.connect.recipe import Kind, Needs, Place, Recipe, Step
from lanhaven.connect.steps import settings


def home_assistant_steps(place: Place) -> Sequence[Step]:
    """Its integration for OpenAI takes no address, the one for Ollama does."""
    key = {"API_key": place.key} if place.key_required else {}
    return (
        settings("In Settings, Devices & services, Add integration, Ollama", URL=place.url, **key),
        settings("Then add a conversation agent", Model=place.model),
    )


def n8n_steps(place: Place) -> Sequence[Step]:
    """A credential, and the node that uses it."""
    key = {"API_Key": place.key} if place.key_required else {}
    return (
        settings("In Credentials, Create credential, Ollama", Base_URL=place.url, **key),
        settings("Then in the node Ollama Chat Model", Model=place.model),
    )


HOME = (
    Recipe(
        id="home-assistant",
        name="Home Assistant",
        about="Its conversation agent, which turns lights on",
        kind=Kind.HOME,
        dialect="ollama",
        needs=Needs(tools=True, context=8192, prompt=2_000),
        programs=("hass",),
        tested="2026.11",
        steps=home_assistant_steps,
        probes=lambda place: (probes.ollama_tags(place), probes.ollama_chat(place, tools=True, keep_alive=-1)),
        notes=elsewhere,
    ),
    Recipe(
        id="n8n",
        name="n8n",
        about="Flows with a model in them",
        kind=Kind.HOME,
        dialect="ollama",
        needs=Needs(tools=True, context=8192),
        programs=("n8n",),
        tested="2",
        steps=n8n_steps,
        probes=lambda place: (probes.root(), probes.ollama_tags(place), probes.ollama_chat(place, tools=True)),
        notes=elsewhere,
    ),
)
