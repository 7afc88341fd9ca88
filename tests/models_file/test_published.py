"""The schemas for editors: made of what the readers use, as strict as a schema can be, and no stricter."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from lanhaven.config import Settings
from lanhaven.config.published import NAMES, published
from lanhaven.config.yaml_text import parse, plain
from lanhaven.errors import NotFound
from lanhaven.models_file.fields import ENTRY, LOAD, SAMPLING, TOP, WHOLE_FILE
from lanhaven.models_file.read import understood
from lanhaven.models_file.values import record, spelled, truth
from lanhaven.providers.registry import OURS
from tests.docs.blocks import all_blocks
from tests.models_file.mistakes import BEYOND_A_SCHEMA, WRONG_ENTRIES, WRONG_FILES, in_a_file

ROOT = Path(__file__).parents[2]
MODELS, CONFIG = (jsonschema_rs.Draft7Validator(json.loads(published(name))) for name in ("models", "config"))


def is_right(validator: jsonschema_rs.Draft7Validator, text: str) -> bool:
    return validator.is_valid(plain(parse(text, "file")))


def why(validator: jsonschema_rs.Draft7Validator, text: str) -> list[str]:
    return [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(plain(parse(text, "file")))]


def yaml_blocks() -> Iterator[tuple[str, str]]:
    for block in all_blocks():
        if block.language == "yaml" and block.reason is None:  # others are files of other programs
            yield str(block), block.text


BLOCKS = dict(yaml_blocks())


def test_they_are_what_the_script_makes() -> None:
    command = [sys.executable, str(ROOT / "scripts/schema"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_they_are_schemas(name: str) -> None:
    jsonschema_rs.meta.validate(json.loads(published(name)))


def test_there_is_no_other() -> None:
    with pytest.raises(NotFound):
        published("../settings")


@pytest.mark.req("S4-13", "S4-x5", "S4-x6", "S4-x7")
def test_the_examples_are_right() -> None:
    models = (ROOT / "models.example.yaml").read_text(encoding="utf-8")
    assert why(MODELS, models) == []
    assert models.startswith("# yaml-language-server: $schema=src/lanhaven/config/schemas/models.json\n")
    example = (ROOT / "config.example.yaml").read_text(encoding="utf-8")
    head, *rest = example.splitlines()
    assert head == "# yaml-language-server: $schema=src/lanhaven/config/schemas/config.json"
    said = [line.removeprefix("# ") for line in rest if line.removeprefix("# ").partition(":")[0] in vars(Settings())]
    assert len(said) == len(Settings.model_fields)
    assert why(CONFIG, "\n".join(said)) == []


@pytest.mark.parametrize("block", BLOCKS)
def test_the_blocks_of_the_documents_are_right(block: str) -> None:
    names = set(plain(parse(BLOCKS[block], "block")))
    if names <= set(TOP):
        assert why(MODELS, BLOCKS[block]) == []
    elif names <= set(Settings.model_fields):
        assert why(CONFIG, BLOCKS[block]) == []


def sayable(mistakes: list[tuple[str, int, str]]) -> list[str]:
    return [text for text, _, part in mistakes if not any(each in part for each in BEYOND_A_SCHEMA)]


@pytest.mark.req("F-172")
@pytest.mark.parametrize("text", [*map(in_a_file, sayable(WRONG_ENTRIES)), *sayable(WRONG_FILES)])
def test_what_the_reader_refuses_is_wrong(text: str) -> None:
    assert not is_right(MODELS, text)


@pytest.mark.parametrize(
    "lines",
    [
        "id: 1.0\nprovider: plugged-in\nconfig: {anything: [1, {a: b}]}",
        "id: no\nprovider: mock\naliases: 2.0\ntags: small\nload:\ndefaults: ~\nconfig:",
        "id: a\nprovider: mock\nttl: 1h30m\nenabled: yes",
        "id: a\nprovider: mock\nttl_seconds: 30\nload: {context_length: 5, gpu_layers: 1}",
        "id: a\nprovider: mock\nload: {contextLength: 5, ttl: 90}\ndefaults: {repetition_penalty: 1, stop_strings: x}",
        "id: a\nprovider: llama_cpp\nconfig: {model_path: a.gguf, n_gpu_layers: -1}",
    ],
)
def test_what_the_reader_takes_is_right(lines: str, tmp_path: Path) -> None:
    text = in_a_file(lines)
    assert understood(text, tmp_path / "models.yaml").entries
    assert why(MODELS, text) == []


@pytest.mark.parametrize("config", ["modelpath: x", "n_batch: 1", "kv_type: q9", "vision: maybe"])
def test_a_providers_settings_are_looked_at(config: str) -> None:
    assert not is_right(MODELS, in_a_file(f"id: a\nprovider: llama_cpp\nconfig: {{{config}}}"))


@pytest.mark.parametrize(
    "text", ["prot: 1", "port: 70000", "queue_wait: soon", "max_body_bytes: 5 stone", "lan: maybe"]
)
def test_wrong_settings_are_wrong(text: str) -> None:
    assert not is_right(CONFIG, text)


@pytest.mark.parametrize("text", ["queue_wait: 1h30m", "memory_budget: 1.5 GiB", "ip_allowlist: 10.0.0.7,10.0.0.8"])
def test_what_people_write_is_right(text: str) -> None:
    assert why(CONFIG, text) == []


def properties(schema: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    for name in path:
        schema = schema["properties"][name]
    found: Mapping[str, Any] = schema["properties"]
    return found


def test_each_field_stands_there_with_its_meaning() -> None:
    schema = json.loads(published("models"))
    model = schema["definitions"]["model"]
    tables = (
        (TOP, properties(schema), str),
        (ENTRY, properties(model), spelled),
        (LOAD, properties(model, "load"), spelled),
        (SAMPLING, properties(model, "defaults"), spelled),
    )
    for fields, found, spelling in tables:
        assert set(found) == {spelling(field) for field in fields}
        assert all(each["description"] for each in found.values())
    assert {each["if"]["properties"]["provider"]["const"] for each in model["allOf"]} == {*OURS}


def test_a_field_that_is_added_to_a_table_stands_in_its_schema() -> None:
    more = record({**TOP, "new_field": truth}, written=str)
    assert more.schema["properties"].keys() - WHOLE_FILE.schema["properties"].keys() == {"new_field"}
