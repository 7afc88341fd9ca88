"""Codex. It speaks Responses only; tried with 0.169.0."""

from __future__ import annotations

from collections.abc import Sequence

from lanhaven.connect import probes
from lanhaven.connect.quoting import quoted
from lanhaven.connect.recipe import Kind, Needs, Place, Probe, Recipe, Run, Step, Where
from lanhaven.connect.steps import file, shell

FILE = Where("~/.codex/config.toml", variable=("CODEX_HOME", "config.toml"))


def top(place: Place) -> dict[str, str]:
    """Settings of the file's top, as TOML."""
    said = {"model": quoted(place.model), "model_provider": '"lanhaven"'}
    if place.context is not None:
        said["model_context_window"] = str(place.context)
    return said


def provider(place: Place) -> dict[str, str]:
    """Settings of its table. The key goes into a header: `env_key` would want a variable in every shell."""
    return {
        "name": '"LanHaven"',
        "base_url": quoted(place.v1),
        "wire_api": '"responses"',
        "http_headers": f"{{ Authorization = {quoted(f'Bearer {place.key}')} }}",
    }


def steps(place: Place) -> Sequence[Step]:
    """Its file, then the program."""
    lines = [f"{name} = {value}" for name, value in top(place).items()]
    lines += ["", "[model_providers.lanhaven]", *(f"{name} = {value}" for name, value in provider(place).items())]
    return file(FILE, "toml", "\n".join(lines) + "\n"), shell("Start it", "codex")


def asks(place: Place) -> Sequence[Probe]:
    """All that it asks of a provider."""
    return (probes.response(place),)


def run(place: Place) -> Run:
    """With the same settings as options."""
    table = ", ".join(f"{name} = {value}" for name, value in provider(place).items())
    said = {**top(place), "model_providers.lanhaven": f"{{ {table} }}"}
    return Run("codex", tuple(word for name, value in said.items() for word in ("-c", f"{name}={value}")))


CODEX = Recipe(
    id="codex",
    name="Codex",
    about="OpenAI's coding agent for the terminal",
    kind=Kind.AGENT,
    dialect="responses",
    needs=Needs(tools=True, context=32_768, prompt=10_000),
    programs=("codex",),
    tested="0.169.0",
    steps=steps,
    probes=asks,
    run=run,
)
