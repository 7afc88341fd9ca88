"""Editors: VS Code, Zed, JetBrains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lanhaven.connect import probes
from lanhaven.connect.recipe import Kind, Needs, Place, Probe, Recipe, Step, Where
from lanhaven.connect.steps import json_file, settings

VSCODE = Where(
    "~/.config/Code/User/settings.json",
    macos="~/Library/Application Support/Code/User/settings.json",
    windows="~/AppData/Roaming/Code/User/settings.json",
)
VSCODE_MODELS = Where(
    "~/.config/Code/User/chatLanguageModels.json",
    macos="~/Library/Application Support/Code/User/chatLanguageModels.json",
    windows="~/AppData/Roaming/Code/User/chatLanguageModels.json",
)
ZED = Where("~/.config/zed/settings.json", windows="~/AppData/Roaming/Zed/settings.json")
ROOM = 32_768  # tokens that are told where nobody knows the context


def vscode_endpoint(place: Place) -> dict[str, Any]:
    """An entry of chatLanguageModels.json."""
    context = place.context or ROOM
    answer = min(4096, context // 4)
    model = {
        "id": place.model,
        "name": place.model,
        "url": f"{place.v1}/chat/completions",
        "toolCalling": place.tools is not False,
        "vision": bool(place.vision),
        "maxInputTokens": context - answer,
        "maxOutputTokens": answer,
    }
    entry = {"name": "LanHaven", "vendor": "customendpoint", "apiKey": place.key, "apiType": "chat-completions"}
    return {**entry, "models": [model]}


def vscode_steps(place: Place) -> Sequence[Step]:
    """By Ollama's API where no key is needed, for that way has no place for one."""
    endpoint = json_file(
        VSCODE_MODELS, [vscode_endpoint(place)],
        f"From 1.122 on: Add Models, Custom Endpoint, which opens {VSCODE_MODELS.linux}",
    )  # fmt: skip
    ollama = json_file(
        VSCODE, {"github.copilot.chat.byok.ollamaEndpoint": place.url},
        f"Put this into {VSCODE.linux}, then Manage Models, Ollama in the chat",
    )  # fmt: skip
    return (endpoint,) if place.key_required else (ollama, endpoint)


def vscode_asks(place: Place) -> Sequence[Probe]:
    """What a model can do decides whether it is offered to agents."""
    chat = probes.openai_chat(place, tools=True, tool_choice="auto", stream_options={"include_usage": True})
    if place.key_required:
        return (chat,)
    return probes.ollama_version(), probes.ollama_tags(place), probes.ollama_show(place), chat


def zed_steps(place: Place) -> Sequence[Step]:
    """LM Studio's way shows which models are loaded, and with how much context."""
    said = {
        "agent": {"default_model": {"provider": "lmstudio", "model": place.model}},
        "language_models": {"lmstudio": {"api_url": f"{place.url}/api/v0"}},
    }
    keyed = settings("In the agent panel's settings, LLM Providers, LM Studio", API_Key=place.key)
    return (json_file(ZED, said), keyed) if place.key_required else (json_file(ZED, said),)


def jetbrains_steps(place: Place) -> Sequence[Step]:
    """Its ways of Ollama and LM Studio have no place for a key."""
    title = "In Settings, Tools, AI Assistant, Models & API keys"
    if place.key_required:
        return (settings(title, Provider="OpenAI-compatible", URL=place.v1, API_Key=place.key),)
    return (settings(title, Provider="LM Studio", URL=place.url),)


def jetbrains_asks(place: Place) -> Sequence[Probe]:
    """The list, and a chat."""
    return probes.openai_models(place), probes.openai_chat(place)


EDITORS = (
    Recipe(
        id="vscode",
        name="VS Code (Copilot)",
        about="Copilot's chat and agent, with a model of your own",
        kind=Kind.EDITOR,
        dialect="ollama",
        needs=Needs(tools=True, context=16_384, prompt=5_000),
        programs=("code", "codium"),
        tested="0.44",
        steps=vscode_steps,
        probes=vscode_asks,
    ),
    Recipe(
        id="zed",
        name="Zed",
        about="The editor Zed, its agent and its assistant",
        kind=Kind.EDITOR,
        dialect="lmstudio",
        needs=Needs(tools=True, context=16_384, prompt=5_000),
        programs=("zed", "zeditor"),
        tested="0.230",
        steps=zed_steps,
        probes=lambda place: (probes.v0_models(place), probes.v0_chat(place)),
    ),
    Recipe(
        id="jetbrains",
        name="JetBrains AI Assistant",
        about="IntelliJ, PyCharm and their family",
        kind=Kind.EDITOR,
        dialect="lmstudio",
        needs=Needs(context=8192),
        programs=("idea", "pycharm", "webstorm", "goland", "clion"),
        tested="2026.2",
        steps=jetbrains_steps,
        probes=jetbrains_asks,
    ),
)
