"""Programs of the terminal: aider, llm, Copilot CLI, Ollama's own, curl."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lanhaven.connect import probes
from lanhaven.connect.quoting import command, quoted, word
from lanhaven.connect.recipe import Kind, Needs, Place, Recipe, Run, Step, Where
from lanhaven.connect.steps import file, shell, variables

AIDER = Where("~/.aider.conf.yml")


def aider_environment(place: Place) -> dict[str, str]:
    """By OpenAI's API, which has a place for a key."""
    return {"OPENAI_API_BASE": place.v1, "OPENAI_API_KEY": place.key}


def aider_steps(place: Place) -> Sequence[Step]:
    """In a shell, or for good."""
    text = f"""\
model: {quoted(f"openai/{place.model}")}
openai-api-base: {quoted(place.v1)}
openai-api-key: {quoted(place.key)}
"""
    return (
        variables(aider_environment(place)),
        shell("Start it in the same shell", command("aider", "--model", f"openai/{place.model}")),
        file(AIDER, "yaml", text, title=f"Or for good: put this into {AIDER.linux}"),
    )


def ollama_environment(place: Place) -> dict[str, str]:
    """Of the programs that are made with Ollama's libraries."""
    return {"OLLAMA_HOST": place.url, "OLLAMA_API_KEY": place.key}


def llm_steps(place: Place) -> Sequence[Step]:
    """With its plugin for Ollama, which names the models as Ollama would."""
    tagged = place.model if ":" in place.model.rpartition("/")[2] else f"{place.model}:latest"
    asked = command("llm", "-m", f"ollama/{tagged}", "Why is the sky blue?")
    return (
        shell("Have the plugin", "llm install llm-ollama"),
        variables(ollama_environment(place)),
        shell("Ask in the same shell", asked),
    )


def copilot_environment(place: Place) -> dict[str, str]:
    """A provider of one's own."""
    return {
        "COPILOT_PROVIDER_BASE_URL": place.v1,
        "COPILOT_PROVIDER_TYPE": "openai",
        "COPILOT_PROVIDER_WIRE_API": "responses",
        "COPILOT_PROVIDER_API_KEY": place.key,
        "COPILOT_MODEL": place.model,
    }


def ollama_steps(place: Place) -> Sequence[Step]:
    """The command, and everything that reads its variables."""
    return (
        variables(ollama_environment(place)),
        shell("Talk in the same shell", command("ollama", "run", place.model)),
    )


def ollama_notes(place: Place) -> Sequence[str]:
    """Read in its source: it signs requests to ollama.com only."""
    if not place.key_required:
        return ()
    return ("The command ollama sends no key, so this server refuses it; Ollama's libraries do send one.",)


def curl_steps(place: Place) -> Sequence[Step]:
    """A whole answer."""
    body = json.dumps({"model": place.model, "messages": [{"role": "user", "content": probes.SAY}]}, ensure_ascii=False)
    text = (
        f"curl -fsS {word(f'{place.v1}/chat/completions')} -H 'Content-Type: application/json' \\\n"
        f"  -H {word(f'Authorization: Bearer {place.key}')} \\\n"
        f"  -d {word(body)}\n"
    )
    return (shell("Ask", text),)


TERMINAL = (
    Recipe(
        id="aider",
        name="aider",
        about="Pair programming in the terminal",
        kind=Kind.AGENT,
        dialect="openai",
        needs=Needs(context=8192, prompt=3_000),
        programs=("aider",),
        tested="0.90",
        steps=aider_steps,
        probes=lambda place: (probes.openai_chat(place, temperature=0),),
        run=lambda place: Run("aider", ("--model", f"openai/{place.model}"), aider_environment(place)),
    ),
    Recipe(
        id="copilot-cli",
        name="GitHub Copilot CLI",
        about="Copilot's agent for the terminal, with your own model",
        kind=Kind.AGENT,
        dialect="responses",
        needs=Needs(tools=True, context=32_768, prompt=10_000),
        programs=("copilot",),
        tested="1.0.102",
        steps=lambda place: (variables(copilot_environment(place)), shell("Start it in the same shell", "copilot")),
        probes=lambda place: (probes.response(place),),
        run=lambda place: Run("copilot", environment=copilot_environment(place)),
    ),
    Recipe(
        id="llm",
        name="llm",
        about="Simon Willison's command, with its plugin for Ollama",
        kind=Kind.CODE,
        dialect="ollama",
        programs=("llm",),
        tested="0.36",
        steps=llm_steps,
        probes=lambda place: (probes.ollama_tags(place), probes.ollama_show(place), probes.ollama_chat(place)),
        run=lambda place: Run("llm", environment=ollama_environment(place)),
    ),
    Recipe(
        id="ollama",
        name="Ollama's command and libraries",
        about="Everything that finds its server by OLLAMA_HOST",
        kind=Kind.CODE,
        dialect="ollama",
        programs=("ollama",),
        tested="0.6",
        steps=ollama_steps,
        probes=lambda place: (probes.root(), probes.ollama_tags(place), probes.ollama_chat(place)),
        run=lambda place: Run("ollama", ("run", place.model), ollama_environment(place)),
        notes=ollama_notes,
    ),
    Recipe(
        id="curl",
        name="curl",
        about="One request, to see that it works",
        kind=Kind.OTHER,
        dialect="openai",
        programs=("curl",),
        steps=curl_steps,
        probes=lambda place: (probes.openai_models(place), probes.openai_chat(place)),
    ),
)
