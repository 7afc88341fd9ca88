"""Claude Code. The variables are those that its manual names for gateways; tried with 2.1.197."""

from __future__ import annotations

from collections.abc import Sequence

from lanhaven.connect import probes
from lanhaven.connect.recipe import Kind, Needs, Place, Probe, Recipe, Run, Step, Where
from lanhaven.connect.steps import json_file, shell, variables

FILE = Where("~/.claude/settings.json", variable=("CLAUDE_CONFIG_DIR", "settings.json"))


def environment(place: Place) -> dict[str, str]:
    """What makes it ask this server, for this model whatever the size that it wants."""
    said = {
        "ANTHROPIC_BASE_URL": place.url,
        "ANTHROPIC_AUTH_TOKEN": place.key,
        "ANTHROPIC_MODEL": place.model,
        "ANTHROPIC_DEFAULT_OPUS_MODEL": place.model,
        "ANTHROPIC_DEFAULT_SONNET_MODEL": place.model,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": place.model,
        # It would put a line that changes with every request before the prompt, and no prefix would be in the cache.
        "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",
    }
    if place.context is not None:
        said["CLAUDE_CODE_AUTO_COMPACT_WINDOW"] = str(place.context)
    return said


def steps(place: Place) -> Sequence[Step]:
    """In a shell, or for good."""
    said = environment(place)
    return (
        variables(said),
        shell("Start it in the same shell", "claude"),
        json_file(FILE, {"env": said}, f"Or for good: put this into {FILE.linux}"),
    )


def asks(place: Place) -> Sequence[Probe]:
    """HEAD / becomes a GET here: a page may not send the first to find out what the second would say."""
    counted = probes.message(place, path="/v1/messages/count_tokens?beta=true", stream=False)
    body = {name: value for name, value in (counted.body or {}).items() if name != "max_tokens"}
    return (
        probes.root(),
        Probe("a count of tokens", "POST", counted.path, body, '"input_tokens"'),
        probes.message(place, path="/v1/messages?beta=true", tools=True),
    )


CLAUDE = Recipe(
    id="claude",
    name="Claude Code",
    about="Anthropic's coding agent for the terminal",
    kind=Kind.AGENT,
    dialect="anthropic",
    needs=Needs(tools=True, context=32_768, prompt=19_000),
    programs=("claude",),
    tested="2.1.197",
    steps=steps,
    probes=asks,
    run=lambda place: Run("claude", environment=environment(place)),
)
