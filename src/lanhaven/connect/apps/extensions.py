"""Extensions of editors: Continue, Cline and Roo Code."""

from __future__ import annotations

from collections.abc import Sequence

from lanhaven.connect import probes
from lanhaven.connect.quoting import command, quoted
from lanhaven.connect.recipe import Kind, Needs, Place, Recipe, Step, Where
from lanhaven.connect.steps import file, settings, shell

CONTINUE = Where("~/.continue/config.yaml", variable=("CONTINUE_GLOBAL_DIR", "config.yaml"))


def continue_steps(place: Place) -> Sequence[Step]:
    """A file must have a name and a version; one that is there keeps its own."""
    text = f"""\
name: LanHaven
version: 1.0.0
schema: v1
models:
  - name: LanHaven
    provider: ollama
    model: {quoted(place.model)}
    apiBase: {quoted(place.url)}
    apiKey: {quoted(place.key)}
    roles: [chat, edit, apply, autocomplete]
"""
    return (file(CONTINUE, "yaml", text, keep=("name", "version", "schema")),)


def cline_steps(place: Place) -> Sequence[Step]:
    """The same fields in Roo Code; Cline's own command has words for them."""
    said = {"-p": "openai", "-b": place.v1, "-k": place.key, "-m": place.model}
    return (
        settings(
            "In its settings, API Configuration",
            API_Provider="OpenAI Compatible",
            Base_URL=place.v1,
            API_Key=place.key,
            Model_ID=place.model,
        ),
        shell("Or for the command cline", command("cline", "auth", *(each for pair in said.items() for each in pair))),
    )


EXTENSIONS = (
    Recipe(
        id="continue",
        name="Continue",
        about="Chat, edits and completion in VS Code and JetBrains",
        kind=Kind.EDITOR,
        dialect="ollama",
        needs=Needs(context=8192),
        programs=("cn",),
        tested="1.5",
        steps=continue_steps,
        probes=lambda place: (probes.ollama_show(place, "name"), probes.ollama_chat(place, keep_alive=1800)),
    ),
    Recipe(
        id="cline",
        name="Cline, Roo Code",
        about="Coding agents in VS Code and the terminal",
        kind=Kind.EDITOR,
        dialect="openai",
        needs=Needs(tools=True, context=32_768, prompt=12_000),
        programs=("cline",),
        tested="3",
        steps=cline_steps,
        probes=lambda place: (
            probes.openai_models(place),
            probes.openai_chat(place, stream_options={"include_usage": True}, max_completion_tokens=probes.FEW),
        ),
    ),
)
