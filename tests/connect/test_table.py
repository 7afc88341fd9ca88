"""The table itself: what every recipe must be, and what it says of models that fall short."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import tomllib

import pytest
from ruamel.yaml import YAML

from lanhaven.connect.document import app_json, document
from lanhaven.connect.fitness import needs, warnings
from lanhaven.connect.recipe import KEY, Place, Recipe, Step, StepKind
from lanhaven.connect.steps import snippet
from lanhaven.connect.table import RECIPES, find
from tests.clients.recorded import FOLDER, programs, recorded
from tests.connect.places import SAMPLE, sample

APPS = (
    *("claude", "codex", "opencode", "open-webui", "vscode", "zed", "jetbrains", "continue", "cline", "aider", "llm"),
    *("langchain", "llamaindex", "home-assistant", "n8n", "anythingllm", "librechat", "obsidian", "copilot-cli"),
    *("openai-python", "openai-js", "anthropic-python", "ollama", "lmstudio-python", "curl"),
)
# The file of tests/clients/fixtures that holds what the app sends, where it is not called like the app.
RECORDED = {"claude": "claude-code"}
BOUNDS = {"max_tokens", "max_output_tokens", "options"}  # what keeps a test short, and no app need say
NASTY = 'it\'s "$(rm -rf ~)" `x` \\ {{é}}'

FIXTURES = {each.id: name for each in RECIPES if (name := RECORDED.get(each.id, each.id)) in programs()}

recorded_apps = pytest.mark.parametrize("recipe", [each for each in RECIPES if each.id in FIXTURES], ids=lambda r: r.id)
every_app = pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.id)


def test_the_apps() -> None:
    assert sorted(each.id for each in RECIPES) == sorted(APPS)
    assert find("Claude Code") is find("CLAUDE") is find("claude")
    assert find("nobody") is None
    assert {RECORDED.get(each, each) for each in APPS} >= set(programs())


@every_app
def test_a_recipe_is_whole(recipe: Recipe) -> None:
    said = json.dumps(app_json(recipe, sample(key=KEY)))
    assert "None" not in said
    assert "null" not in said
    steps, asked = recipe.steps(SAMPLE), recipe.probes(SAMPLE)
    assert steps
    assert asked
    assert all(each.text.endswith("\n") for each in steps)
    assert all(each.where is not None for each in steps if each.kind is StepKind.FILE)
    told = "".join(each.text for each in steps)
    assert re.search(r"127\.0\.0\.1:8002", told)
    assert len(recipe.about) < 60, "the list is to fit 80 columns"
    if any(each.body is not None for each in asked):
        assert any("smollm2" in json.dumps(each.body) for each in asked)


@every_app
def test_the_key_has_its_place_where_one_is_needed(recipe: Recipe) -> None:
    place = sample(key=KEY, key_required=True)
    told = "".join(each.text for each in recipe.steps(place))
    assert KEY in told or recipe.notes(place), "neither a place for the key, nor a word why there is none"


@recorded_apps
def test_the_probes_are_what_the_app_sends(recipe: Recipe) -> None:
    requests = recorded(FIXTURES[recipe.id]).values()
    for probe in recipe.probes(SAMPLE):
        if "count_tokens" in probe.path:  # the recording has none
            continue
        heads = ("GET", "HEAD") if probe.body is None else (probe.method,)
        alike = [each for each in requests if each.path == probe.path and each.method in heads]
        assert any(set(probe.body or ()) - BOUNDS <= set(each.body or ()) for each in alike), probe


@recorded_apps
def test_what_is_said_to_be_tested_was_recorded(recipe: Recipe) -> None:
    client = json.loads((FOLDER / f"{FIXTURES[recipe.id]}.json").read_text(encoding="utf-8"))["client"]
    assert recipe.tested
    assert recipe.tested in client


def parsed(step: Step) -> object:
    match step.language:
        case "json":
            return json.loads(step.text)
        case "toml":
            return tomllib.loads(step.text)
        case "yaml":
            return YAML(typ="safe").load(step.text)
        case language:
            raise AssertionError(language)


def strings(value: object) -> list[str]:
    match value:
        case dict():
            return [each for key, inner in value.items() for each in (str(key), *strings(inner))]
        case list():
            return [each for inner in value for each in strings(inner)]
        case _:
            return [str(value)]


@every_app
def test_any_name_comes_out_as_it_went_in(recipe: Recipe) -> None:
    """A model may be called anything: shells, files and programs read the very name."""
    place = sample(model=NASTY, key="sk-'\"$x", key_required=True)
    for step in recipe.steps(place):
        if step.environment:
            script = step.text + "env -0\n"
            done = subprocess.run(["sh", "-c", script], capture_output=True, env={"PATH": "/usr/bin:/bin"}, check=True)
            found = dict(each.split("=", 1) for each in done.stdout.decode().split("\0") if each)
            assert {name: found[name] for name in step.environment} == dict(step.environment)
        elif step.kind is StepKind.FILE:
            assert any(NASTY in each for each in strings(parsed(step))) or NASTY not in step.text
        elif step.language == "python":
            assert NASTY in strings_of_python(step.text)
        elif step.kind is StepKind.SHELL:
            shlex.split(step.text.replace("\\\n", " "))


def strings_of_python(text: str) -> list[object]:
    return [each.value for each in ast.walk(ast.parse(text)) if isinstance(each, ast.Constant)]


def test_the_snippet_is_what_holds_the_address() -> None:
    for recipe in RECIPES:
        assert "127.0.0.1" in snippet(recipe.steps(SAMPLE)).text, recipe.id


def test_codex_is_started_with_what_its_file_would_say() -> None:
    recipe = find("codex")
    assert recipe is not None
    assert recipe.run is not None
    words = recipe.run(sample(model=NASTY)).arguments
    assert set(words[::2]) == {"-c"}
    assert tomllib.loads("\n".join(words[1::2])) == tomllib.loads(recipe.steps(sample(model=NASTY))[0].text)


def test_llm_names_models_as_ollama_does() -> None:
    recipe = find("llm")
    assert recipe is not None
    told = {name: recipe.steps(sample(model=name))[-1].text.split()[2] for name in ("a", "org/a", "qwen3:8b", "h:1/a")}
    assert told == {
        "a": "ollama/a:latest", "org/a": "ollama/org/a:latest", "qwen3:8b": "ollama/qwen3:8b", "h:1/a": "ollama/h:1/a:latest",
    }  # fmt: skip


# ---- what falls short


def claude() -> Recipe:
    recipe = find("claude")
    assert recipe is not None
    return recipe


def test_a_short_context_is_told_with_the_remedy() -> None:
    place = sample(context=8192, longest=131_072)
    fault = "context 8,192: Claude Code's first prompt alone is about 19,000 tokens"
    assert warnings(claude(), place) == [f"{fault}; load it with: lanhaven load smollm2 --context 32768"]
    assert warnings(claude(), sample(context=20_000)) == [
        "context 20,000: Claude Code works well with 32,768; load it with: lanhaven load smollm2 --context 32768"
    ]


def test_a_model_that_has_no_more_is_not_to_be_loaded_with_more() -> None:
    (told,) = warnings(claude(), sample(context=8192, longest=8192))
    assert told.endswith("smollm2 has no more: choose a model with a longer context.")


@pytest.mark.parametrize("context", [None, 32_768, 200_000])
def test_enough_or_unknown_is_no_reason_to_warn(context: int | None) -> None:
    assert warnings(claude(), sample(context=context)) == []


def test_what_the_model_cannot_do() -> None:
    assert warnings(claude(), sample(tools=False)) == ["smollm2 cannot call tools, and Claude Code works by tools."]
    assert warnings(claude(), sample(tools=None)) == []
    assert "not a model that chats" in warnings(claude(), sample(chat=False))[0]


def test_an_authority_that_no_app_knows() -> None:
    (told,) = warnings(claude(), sample(url="https://h:1", own_ca=True))
    assert "https://h:1/ca.crt" in told
    assert warnings(claude(), sample(own_ca=True)) == [], "http needs none"


def test_needs_in_short() -> None:
    assert needs(claude()) == ["tools", "context>=32768"]


def test_the_document() -> None:
    said = document(Place("http://h:1", "m", key_required=True))
    assert said.keys() == {"baseUrl", "model", "chats", "ownCa", "keyRequired", "apps"}
    assert [each["id"] for each in said["apps"]] == [each.id for each in RECIPES]
