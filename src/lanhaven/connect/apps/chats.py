"""Chats in the browser and on the desktop: Open WebUI, LibreChat, AnythingLLM, Obsidian's Copilot."""

from __future__ import annotations

from collections.abc import Sequence

from lanhaven.connect import probes
from lanhaven.connect.notes import elsewhere
from lanhaven.connect.quoting import quoted
from lanhaven.connect.recipe import Kind, Needs, Place, Probe, Recipe, Run, Step, Where
from lanhaven.connect.steps import file, settings, shell, variables

LIBRECHAT = Where("librechat.yaml")
OBSIDIAN = "app://obsidian.md"  # the origin that its requests come from


def webui_environment(place: Place) -> dict[str, str]:
    """One connection: with two every model is listed twice."""
    return {"OPENAI_API_BASE_URL": place.v1, "OPENAI_API_KEY": place.key, "ENABLE_OLLAMA_API": "false"}


def webui_steps(place: Place) -> Sequence[Step]:
    """The variables count at its first start only; later its settings do."""
    return (
        variables(webui_environment(place), "Before its first start, set the environment"),
        shell("Start it in the same shell", "open-webui serve"),
        settings("Or in Admin Settings, Connections, OpenAI API", URL=place.v1, API_Key=place.key),
    )


def librechat_steps(place: Place) -> Sequence[Step]:
    """An endpoint of its own; a file must have a version, and one that is there keeps it."""
    text = f"""\
version: 1.2.1
endpoints:
  custom:
    - name: LanHaven
      apiKey: {quoted(place.key)}
      baseURL: {quoted(place.v1)}
      models:
        default: [{quoted(place.model)}]
        fetch: true
      titleConvo: true
      titleModel: current_model
      modelDisplayLabel: LanHaven
"""
    return (file(LIBRECHAT, "yaml", text, keep=("version",)),)


def anythingllm_steps(place: Place) -> Sequence[Step]:
    """Its settings."""
    return (
        settings(
            "In Settings, AI Providers, LLM",
            LLM_Provider="Generic OpenAI",
            Base_URL=place.v1,
            API_Key=place.key,
            Chat_Model_Name=place.model,
            **({"Model_context_window": str(place.context)} if place.context is not None else {}),
        ),
    )


def obsidian_steps(place: Place) -> Sequence[Step]:
    """Its requests come from a page, so the server has to know that page."""
    return (
        shell("Let its page in, then start the server anew", f"lanhaven config set cors_origins {OBSIDIAN}"),
        settings(
            "In Settings, Copilot, Models, Add Custom Model",
            Provider="3rd party (openai-format)",
            Base_URL=place.v1,
            API_Key=place.key,
            Model_Name=place.model,
        ),
    )


def chat(place: Place) -> Sequence[Probe]:
    """The list, and a chat."""
    return probes.openai_models(place), probes.openai_chat(place, stream_options={"include_usage": True})


CHATS = (
    Recipe(
        id="open-webui",
        name="Open WebUI",
        about="A chat in the browser for a household or an office",
        kind=Kind.CHAT,
        dialect="openai",
        needs=Needs(context=8192),
        programs=("open-webui",),
        tested="0.12",
        steps=webui_steps,
        probes=chat,
        run=lambda place: Run("open-webui", ("serve",), webui_environment(place)),
        notes=elsewhere,
    ),
    Recipe(
        id="librechat",
        name="LibreChat",
        about="A chat in the browser, for several people and providers",
        kind=Kind.CHAT,
        dialect="openai",
        needs=Needs(context=8192),
        steps=librechat_steps,
        probes=chat,
        notes=elsewhere,
    ),
    Recipe(
        id="anythingllm",
        name="AnythingLLM",
        about="A chat with your documents",
        kind=Kind.CHAT,
        dialect="openai",
        needs=Needs(context=8192),
        programs=("anythingllm",),
        steps=anythingllm_steps,
        probes=chat,
        notes=elsewhere,
    ),
    Recipe(
        id="obsidian",
        name="Obsidian (Copilot)",
        about="The plugin Copilot in Obsidian",
        kind=Kind.CHAT,
        dialect="openai",
        needs=Needs(context=8192),
        programs=("obsidian",),
        steps=obsidian_steps,
        probes=chat,
    ),
)
