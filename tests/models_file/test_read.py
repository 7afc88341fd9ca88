from __future__ import annotations

from pathlib import Path

import pytest

from lanhaven.config import Settings
from lanhaven.errors import InvalidRequest
from lanhaven.models_file import models_path, read
from lanhaven.providers.base import ModelEntry
from lanhaven.types.models import LoadConfig, Sampling
from tests.models_file.mistakes import WRONG_ENTRIES, WRONG_FILES, in_a_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "models.yaml"


def entry(path: Path, lines: str) -> ModelEntry:
    path.write_text(in_a_file(lines))
    (only,) = read(path).entries
    return only


def told(path: Path, text: str) -> InvalidRequest:
    path.write_text(text)
    with pytest.raises(InvalidRequest) as caught:
        read(path)
    assert caught.value.hint
    return caught.value


def test_a_file_that_is_not_there_lists_nothing(path: Path) -> None:
    models = read(path)
    assert (models.entries, models.default_model, models.max_loaded_models) == ((), None, None)


@pytest.mark.parametrize("text", ["", "models:\n", "models: []\n", "models: ~\ndefault_model:\n", "# nothing\n"])
def test_a_file_without_models(path: Path, text: str) -> None:
    path.write_text(text)
    assert read(path).entries == ()


@pytest.mark.req("S4-13", "S4-x5")
def test_an_entry_with_id_and_provider_has_the_defaults(path: Path) -> None:
    assert entry(path, "id: a\nprovider: mlx") == ModelEntry("a", "mlx")


@pytest.mark.req("S4-13")
def test_every_field_of_an_entry(path: Path) -> None:
    got = entry(
        path,
        "id: a\nprovider: llama_cpp\nenabled: false\ndescription: words\ntags: [x]\naliases: [b, c]\npinned: true\n"
        "preload: yes\nttl: 30m\nload: {contextLength: 8192, gpu: {ratio: 0.5, layers: 32}, cpuThreads: 4,\n"
        "  ropeFrequencyBase: 10000, ropeFrequencyScale: 1.0, slots: 2, flashAttention: on, kvType: q8_0}\n"
        "defaults: {temperature: 0.7, topP: 0.9, topK: 40, minP: 0.1, repeatPenalty: 1.1, maxTokens: 5, stop: x,\n"
        "  seed: -1, stream: false}\nconfig: {vision: true, n_gpu_layers: -1, extra: [a, 1]}",
    )
    assert got == ModelEntry(
        id="a",
        provider="llama_cpp",
        enabled=False,
        description="words",
        aliases=("b", "c"),
        pinned=True,
        preload=True,
        load=LoadConfig(8192, 0.5, 32, 4, 10000.0, 1.0, 2, True, "q8_0", 1800.0),
        sampling=Sampling(0.7, 0.9, 40, 0.1, 1.1, 5, ("x",), -1, False),
        config={"vision": True, "n_gpu_layers": -1, "extra": ["a", 1]},
    )


def test_snake_case_and_other_names_mean_the_same(path: Path) -> None:
    camel = entry(
        path,
        "id: a\nprovider: b\nttl: 5\nload: {contextLength: 5, gpuLayers: 3}\ndefaults: {stop: [x], repeatPenalty: 2}",
    )
    snake = entry(
        path,
        "id: a\nprovider: b\nload: {context_length: 5, gpu_layers: 3, idle_ttl: 5}\n"
        "defaults: {stop_strings: x, repetition_penalty: 2}",
    )
    assert camel == snake


@pytest.mark.req("F-172")
@pytest.mark.parametrize("name", ["no", "1.0", "0x10", "2026-11-21", "true", "1e3", "org/name", "qwen3:8b", "名前"])
def test_ids_are_the_text_that_was_written(path: Path, name: str) -> None:
    got = entry(path, f"id: {name}\nprovider: b\naliases: [{name}-x, 2.0]")
    assert (got.id, got.aliases) == (name, (f"{name}-x", "2.0"))


@pytest.mark.req("F-172")
@pytest.mark.parametrize(
    ("lines", "line", "part"),
    WRONG_ENTRIES,
)
def test_mistakes_are_told_with_line_place_and_remedy(path: Path, lines: str, line: int, part: str) -> None:
    error = told(path, in_a_file(lines))
    assert error.message.startswith(f"models.yaml:{line}: ")
    assert part in error.message


@pytest.mark.req("F-172")
@pytest.mark.parametrize(
    ("text", "line", "part"),
    WRONG_FILES,
)
def test_mistakes_of_the_whole_file(path: Path, text: str, line: int, part: str) -> None:
    error = told(path, text)
    assert error.message.startswith(f"models.yaml:{line}: ")
    assert part in error.message


def test_a_misspelt_field_is_answered_with_the_right_one(path: Path) -> None:
    assert told(path, "models:\n- id: a\n  provder: b\n").hint == "did you mean provider?"
    assert told(path, "default-model: a\n").hint == "did you mean default_model?"
    hint = told(path, "models:\n- {id: a, provider: b, load: {xyz: 1}}\n").hint
    assert hint is not None
    assert "context_length" in hint


def test_paths_in_a_config(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    (path.parent / "here.gguf").write_text("")
    got = entry(
        path,
        "id: a\nprovider: b\nconfig: {model_path: ~/m.gguf, mm_path: here.gguf, draft_path: a/b, other: here.gguf,\n"
        "  long_path: " + "x" * 5000 + "}",
    )
    assert got.config["model_path"] == "/home/me/m.gguf"
    assert got.config["mm_path"] == str(path.parent / "here.gguf")
    assert got.config["draft_path"] == "a/b"
    assert got.config["other"] == "here.gguf"
    assert got.config["long_path"] == "x" * 5000


def test_which_models_file_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, config = tmp_path / "work", tmp_path / "config"
    work.mkdir()
    monkeypatch.chdir(work)
    settings = Settings(config_dir=config)
    assert models_path(settings) == config / "models.yaml"
    (work / "models.yaml").write_text("")
    assert models_path(settings) == work / "models.yaml"
    assert models_path(settings, tmp_path) == config / "models.yaml"
    assert models_path(Settings(config_dir=config, models_file=tmp_path / "m.yaml")) == tmp_path / "m.yaml"


def test_a_file_that_cannot_be_read_is_told(path: Path) -> None:
    path.write_text("models: []\n")
    with pytest.raises(InvalidRequest, match="cannot be read: Not a directory"):
        read(path / "models.yaml")
