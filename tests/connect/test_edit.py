"""Settings put into files as people have them: what is there stays, to the last comment."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanhaven.connect import json_text
from lanhaven.connect.edit import edited, with_block
from lanhaven.connect.merging import changes, merged
from lanhaven.connect.recipe import Step, StepKind
from lanhaven.connect.table import RECIPES, find
from lanhaven.errors import InvalidRequest
from tests.connect.places import SAMPLE, sample

ZED = """\
// Zed settings
//
// For information on how to configure Zed, see the docs.
{
  "ui_font_size": 16, // a comfortable size
  "theme": {
    "mode": "system",
    /* both are good */
    "light": "One Light",
    "dark": "One Dark",
  },
  "language_models": {
    "openai": { "api_url": "https://example.com//v1" },
  },
  "lsp": { "rust-analyzer": { "initialization_options": { "check": { "command": "clippy" } } } }, // slow
}
"""
CODEX = """\
# My own settings
approval_policy = "on-request"
model = "gpt-5"  # the "big" one # really
notify = [
  "notify-send",
  "[a list, not a table]",
]

[projects."/home/ann/src"]
trust_level = "trusted"

[mcp_servers.files]
command = "npx"
"""
CONTINUE = """\
# What I use
name: Mine
version: 0.0.1
schema: v1
models:
  # the big one
  - name: Big
    provider: anthropic
    model: 'big-1'   # never the small one
    apiKey: "x: y"

  - name: Autocomplete
    provider: mistral
    model: codestral
    roles:
      - autocomplete
rules:
  - Be brief, and never say more than what is needed in a line that is as long as this one is, for it is very long indeed.
"""


def step(app: str, **fields: Any) -> Step:
    recipe = find(app)
    assert recipe is not None
    return next(each for each in recipe.steps(sample(**fields)) if each.kind is StepKind.FILE)


def put(text: str, app: str, **fields: Any) -> str:
    one = step(app, **fields)
    return edited(text, one.text, one.language, one.keep)


def gone(before: str, after: str) -> list[str]:
    """Lines that are no longer there."""
    left = after.splitlines()
    return [line for line in before.splitlines() if line not in left]


def test_zed_with_comments_and_trailing_commas() -> None:
    after = put(ZED, "zed")
    assert gone(ZED, after) == []
    assert after == ZED.replace(
        '    "openai": { "api_url": "https://example.com//v1" },\n',
        '    "openai": { "api_url": "https://example.com//v1" },\n'
        '    "lmstudio": {\n      "api_url": "http://127.0.0.1:8002/api/v0"\n    },\n',
    ).replace(
        " // slow\n",
        ' // slow\n  "agent": {\n    "default_model": {\n      "provider": "lmstudio",\n      "model": "smollm2"\n    }\n  },\n',
    )
    assert put(after, "zed") == after, "a second time changes nothing"
    again = put(after, "zed", url="http://10.0.0.1:8002")
    assert [line.strip() for line in gone(after, again)] == ['"api_url": "http://127.0.0.1:8002/api/v0"']


def test_claude_beside_what_is_there() -> None:
    before = '{\n\t"permissions": {"allow": ["Bash(ls:*)"]},\n\t"env": {"FOO": "1"}\n}\n'
    after = put(before, "claude")
    assert json.loads(after)["env"] == {
        "FOO": "1",
        **dict(step("claude").text and json.loads(step("claude").text)["env"]),
    }
    assert '\t"permissions": {"allow": ["Bash(ls:*)"]},\n' in after
    assert after.endswith("}\n}\n")


def test_a_list_of_entries_gets_one_more_and_never_two() -> None:
    before = json.dumps([{"name": "Other", "vendor": "customendpoint", "models": []}], indent=4)
    place = {"key_required": True}
    after = put(before, "vscode", **place)
    assert [each["name"] for each in json.loads(after)] == ["Other", "LanHaven"]
    again = json.loads(put(after, "vscode", **place, model="qwen"))
    assert [each["name"] for each in again] == ["Other", "LanHaven"]
    assert [each["id"] for each in again[1]["models"]] == ["smollm2", "qwen"]


def test_codex_with_tables_and_lists_over_lines() -> None:
    after = put(CODEX, "codex")
    assert gone(CODEX, after) == ['model = "gpt-5"  # the "big" one # really']
    assert 'model = "smollm2"  # the "big" one # really\n' in after
    said = tomllib.loads(after)
    assert said["model_provider"] == "lanhaven"
    assert said["mcp_servers"] == {"files": {"command": "npx"}}
    assert said["model_providers"]["lanhaven"]["http_headers"] == {"Authorization": "Bearer not-needed"}
    assert put(after, "codex") == after
    other = tomllib.loads(put(after, "codex", key="sk-lan-x"))
    assert other["model_providers"]["lanhaven"]["http_headers"] == {"Authorization": "Bearer sk-lan-x"}


@pytest.mark.parametrize(
    "text",
    [
        'text = """\n[model_providers.lanhaven]\nmodel = 1\n"""\n',  # what looks like a table is none
        "[model_providers.lanhaven]\nhttp_headers = { Authorization = 'x', Other = 'y' }\n",
    ],
)
def test_what_would_be_lost_is_not_touched(text: str) -> None:
    with pytest.raises(InvalidRequest, match="losing") as caught:
        put(text, "codex")
    assert "paste" in str(caught.value.hint)


def test_toml_of_every_kind() -> None:
    text = 'a = 1 # one\nb = "#" # two\n[t."x y"]\nc = true\n[[list]]\nd = 1\n'
    after = edited(text, 'a = 2\nb = "# #"\n[t."x y"]\nc = false\n"e f" = 1.5\n[t.new]\ng = "h"\n', "toml")
    assert after == (
        'a = 2 # one\nb = "# #" # two\n[t."x y"]\nc = false\n"e f" = 1.5\n[[list]]\nd = 1\n\n[t.new]\ng = "h"\n'
    )
    with pytest.raises(InvalidRequest, match="losing"):
        edited("a = 1\n", "b = 2026-11-21\n", "toml")
    with pytest.raises(InvalidRequest, match="losing"):
        edited("[[a]]\nb = 1\n", "[a]\nb = 2\n", "toml")


def test_continue_keeps_its_name_and_its_comments() -> None:
    after = put(CONTINUE, "continue")
    assert gone(CONTINUE, after) == []
    assert "name: Mine\nversion: 0.0.1\n" in after
    assert "  - name: LanHaven\n    provider: ollama\n" in after
    assert after.index("Autocomplete") < after.index("LanHaven") < after.index("rules:")
    assert put(after, "continue") == after
    other = put(after, "continue", model="qwen3")
    assert "model: qwen3" in other.replace('"', "")
    assert other.count("name: LanHaven") == 1


def test_aider_and_librechat() -> None:
    assert put("# mine\ndark-mode: true\n", "aider").startswith("# mine\ndark-mode: true\nmodel:")
    before = "version: 1.3.0\ncache: true # yes\nendpoints:\n  custom:\n  - name: groq\n    apiKey: ${GROQ}\n"
    after = put(before, "librechat")
    assert gone(before, after) == []
    assert "  - name: LanHaven\n" in after


@pytest.mark.parametrize("start", ["---\n", "# mine\n---\n", "--- # mine\n"])
def test_a_yaml_file_keeps_its_first_line(start: str) -> None:
    assert put(f"{start}dark-mode: true\n", "aider").startswith(f"{start}dark-mode: true\nmodel: ")


@pytest.mark.parametrize("mapping", [2, 3, 4])
@pytest.mark.parametrize("dash", [0, 2, 4])
def test_a_yaml_file_keeps_its_indentation(mapping: int, dash: int) -> None:
    deep, item = " " * mapping, " " * (mapping + dash)
    text = (
        f"interface:\n{deep}terms:\n{deep}{deep}open: true # yes\nendpoints:\n{deep}custom:\n"
        f"{item}- name: groq\n{item}  models:\n{item}  {' ' * dash}- a\n"
    )
    after = put(text, "librechat")
    assert gone(text, after) == []
    assert f"\n{item}- name: LanHaven\n{item}  apiKey: " in after


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.id)
def test_an_empty_file_becomes_the_text_itself(recipe: Any) -> None:
    for each in recipe.steps(SAMPLE):
        if each.kind is StepKind.FILE:
            assert edited("", each.text, each.language, each.keep) == each.text
            assert edited("\n \n", each.text, each.language, each.keep) == each.text
            assert edited(each.text, each.text, each.language, each.keep) == each.text


def test_a_file_of_comments_keeps_them() -> None:
    assert put("// nothing yet\n", "zed").startswith("// nothing yet\n{\n")
    assert put("# nothing yet\n", "continue").startswith("# nothing yet\nname: LanHaven\n")
    assert put("# nothing yet\n", "codex").startswith("# nothing yet\nmodel = ")


def test_line_ends_of_windows_stay() -> None:
    after = put(ZED.replace("\n", "\r\n"), "zed")
    assert after.replace("\r\n", "\n") == put(ZED, "zed")


@pytest.mark.parametrize(
    ("app", "text", "problem"),
    [
        ("zed", '{"a": 1', "line 1: a comma or a bracket is missing"),
        ("zed", '{"a": 1}\n}', "line 2: something follows"),
        ("zed", '{"a": 1, "a": 2}', "'a' stands there twice"),
        ("zed", "{a: 1}", "a name in quotes is missing"),
        ("zed", '{"a" 1}', "a colon is missing"),
        ("zed", "[" * 300, "nested too deep"),
        ("zed", '{"a": }', "a value is missing"),
        ("codex", "a = \n", "TOML"),
        ("continue", "a: [\n", "YAML"),
    ],
)
def test_a_broken_file_is_told_and_not_touched(app: str, text: str, problem: str) -> None:
    with pytest.raises(InvalidRequest, match="the file is not") as caught:
        put(text, app)
    assert problem in caught.value.message


def test_a_file_of_another_shape_is_not_touched() -> None:
    with pytest.raises(InvalidRequest, match="losing"):
        put("[1, 2]", "zed")
    with pytest.raises(InvalidRequest, match="losing"):
        put('{"env": [ // mine\n]}', "claude")


def test_a_shells_file() -> None:
    before = "# mine\nalias ll='ls -l'"
    after = with_block(before, "export A=1\n", "llm")
    assert after == f"{before}\n\n# >>> lanhaven connect llm >>>\nexport A=1\n# <<< lanhaven connect llm <<<\n"
    more = after + "\nalias x=y\n"
    assert with_block(more, "export A=2\n", "llm") == more.replace("A=1", "A=2")
    assert with_block(more, "export B=1\n", "ollama").count(">>>\n") == 2
    assert with_block("", "export A=1\n", "llm").startswith("# >>>")


# ---- any JSON, however it is laid out

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('ab"\\/ é#', max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text("abc", max_size=2), VALUES, max_size=4)


@settings(max_examples=300, deadline=None)
@given(OBJECTS, OBJECTS, st.sampled_from([None, 2, "\t"]), st.booleans())
def test_any_json_says_afterwards_what_it_should(old: Any, wanted: Any, indent: Any, noted: bool) -> None:
    text = json.dumps(old, indent=indent, ensure_ascii=False)
    if noted:
        text = text.replace(",\n", ", // a note\n").replace("{\n", "{ /* b */\n")
    after = json_text.with_changes(text, list(changes(old, wanted)))
    assert json_text.data(after) == merged(old, wanted)
