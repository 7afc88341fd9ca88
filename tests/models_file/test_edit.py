from __future__ import annotations

import errno
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanhaven.config import atomic
from lanhaven.errors import InvalidRequest, ModelNotFound, StorageFull
from lanhaven.models_file import Editor, create, edit, read
from lanhaven.providers.base import ModelEntry
from lanhaven.types.models import Sampling

FILE = """\
# my models

default_model: small   # the quick one
max_loaded_models: 3

models:
  # ---- small ones ----
  - id: small            # first
    provider: llama_cpp
    # where it lies
    config:
      model_path: /m/small.gguf    # 90 MB
    defaults: {temperature: 0.70}

  # ---- large ones ----
  - id: "large"
    provider: mlx
    description: |
      Two lines
      of text
    tags:
    - x   # odd indentation


  # - id: later
  #   provider: mlx

# the end
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "models.yaml"
    path.write_text(FILE)
    return path


def ids(path: Path) -> list[str]:
    return [entry.id for entry in read(path).entries]


def by_id(path: Path, name: str) -> ModelEntry:
    return next(entry for entry in read(path).entries if entry.id == name)


def test_an_edit_without_change_writes_nothing(path: Path) -> None:
    before = path.stat()
    with edit(path):
        pass
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_adding_puts_the_entry_after_the_last_and_moves_nothing(path: Path) -> None:
    with edit(path) as models:
        models.add({"id": "new", "provider": "mock", "aliases": ("nn", "no"), "load": {"contextLength": 4096}})
    new = "  - id: new\n    provider: mock\n"
    new += '    aliases:\n      - nn\n      - "no"\n    load:\n      contextLength: 4096\n'
    assert path.read_text() == FILE.replace("# odd indentation\n", "# odd indentation\n" + new)
    assert by_id(path, "new").aliases == ("nn", "no")


def test_adding_several_keeps_their_order(path: Path) -> None:
    with edit(path) as models:
        models.add({"id": "x", "provider": "mock"}, {"id": "y", "provider": "mock"})
        models.add()
        assert [entry.id for entry in models.models.entries] == ["small", "large", "x", "y"]
    assert ids(path) == ["small", "large", "x", "y"]


def test_removing_takes_the_entry_and_leaves_every_comment_around_it(path: Path) -> None:
    with edit(path) as models:
        models.remove("small")
    text = path.read_text()
    for comment in ("# my models", "# ---- small ones ----", "# ---- large ones ----", "# - id: later", "# the end"):
        assert comment in text
    assert ids(path) == ["large"]
    assert read(path).default_model is None  # it named the entry that went
    assert text.endswith(FILE[FILE.index("  # ---- large") :])


def test_of_two_blank_lines_that_meet_one_goes(path: Path) -> None:
    path.write_text("models:\n\n- {id: a, provider: b}\n\n- {id: c, provider: d}\n")
    with edit(path) as models:
        models.remove("a")
    assert path.read_text() == "models:\n\n- {id: c, provider: d}\n"


def test_removing_all_and_adding_again(path: Path) -> None:
    with edit(path) as models:
        models.remove("small")
        models.remove("large")
        assert models.models.entries == ()
        models.add({"id": "again", "provider": "mock"})
    assert ids(path) == ["again"]
    assert "# ---- large ones ----" in path.read_text()


def test_updating_touches_the_lines_of_the_entry_only(path: Path) -> None:
    with edit(path) as models:
        models.update("large", {"enabled": False, "load": {"slots": 2}})
    text = path.read_text()
    head, tail = FILE.split('  - id: "large"\n')[0], "\n\n\n  # - id: later"
    assert text.startswith(head)
    assert text.endswith(FILE[FILE.index("\n\n  # - id: later") :])
    changed = text[len(head) : text.index(tail)]
    assert "# odd indentation" in changed
    assert 'id: "large"' in changed
    entry = by_id(path, "large")
    assert (entry.enabled, entry.load.slots, entry.description) == (False, 2, "Two lines\nof text\n")


def test_updating_merges_keeps_comments_and_removes_with_none(path: Path) -> None:
    with edit(path) as models:
        models.update("small", {"config": {"n_ctx": 4096}, "provider": "mock", "description": "now"})
        models.update("small", {"description": None, "config": {"n_ctx": None, "n_batch": 8}})
    text = path.read_text()
    for comment in ("# first", "# where it lies", "# 90 MB"):
        assert comment in text
    assert "temperature: 0.70" in text
    entry = by_id(path, "small")
    assert (entry.provider, entry.description) == ("mock", "")
    assert entry.config == {"model_path": "/m/small.gguf", "n_batch": 8}


def test_a_change_goes_to_the_spelling_that_is_there(path: Path) -> None:
    path.write_text("models:\n- id: a\n  provider: b\n  load: {context_length: 1}\n")
    with edit(path) as models:
        models.update("a", {"load": {"contextLength": 2}})
    assert path.read_text() == "models:\n- id: a\n  provider: b\n  load: {context_length: 2}\n"


def test_renaming_an_entry(path: Path) -> None:
    with edit(path) as models:
        models.update("large", {"id": "huge"})
    assert ids(path) == ["small", "huge"]


def test_setting_defaults_lays_them_over(path: Path) -> None:
    with edit(path) as models:
        models.update("small", {"defaults": {"topP": 0.5, "stop": ["a", "b"], "stream": False}})
        models.update("large", {"defaults": {"temperature": 1.0}})
    assert by_id(path, "small").sampling == Sampling(temperature=0.7, top_p=0.5, stop=("a", "b"), stream=False)
    assert by_id(path, "large").sampling == Sampling(temperature=1.0)
    assert "topP: 0.5" in path.read_text()


def test_the_default_model_keeps_its_place_and_comment(path: Path) -> None:
    with edit(path) as models:
        models.set_default_model("large")
    assert path.read_text() == FILE.replace("default_model: small", "default_model: large")
    with edit(path) as models:
        models.set_default_model(None)
    assert path.read_text() == FILE.replace("default_model: small   # the quick one\n", "")
    with edit(path) as models:
        models.set_default_model("1.0")
    assert read(path).default_model == "1.0"
    assert path.read_text().startswith('# my models\n\ndefault_model: "1.0"\nmax_loaded_models: 3\n')


def test_windows_line_ends_stay(path: Path) -> None:
    path.write_bytes(FILE.replace("\n", "\r\n").encode())
    with edit(path) as models:
        models.update("small", {"pinned": True})
    raw = path.read_bytes()
    assert raw.count(b"\n") == raw.count(b"\r\n") == FILE.count("\n") + 1
    assert by_id(path, "small").pinned


@pytest.mark.parametrize(
    ("entry", "part"),
    [
        ({"id": "small", "provider": "b"}, "has 'small' already"),
        ({"id": "x"}, "has no provider"),
        ({"provider": "b"}, "has no id"),
        ({"id": "auto", "provider": "b"}, "means the active model"),
        ({"id": "x", "provider": "b", "nope": 1}, "nope is not known"),
        ({"id": "x", "provider": "b", "load": {"slots": 0}}, "whole number"),
        ({"id": "x\ud800", "provider": "b"}, "models.yaml"),
    ],
)
def test_an_entry_that_could_not_be_read_back_is_refused(path: Path, entry: Mapping[str, Any], part: str) -> None:
    with pytest.raises(InvalidRequest, match=part), edit(path) as models:
        models.add(entry)
    assert path.read_text() == FILE


def test_unknown_ids(path: Path) -> None:
    for act in (lambda m: m.remove("x"), lambda m: m.update("x", {})):
        with pytest.raises(ModelNotFound, match="has no model 'x'"), edit(path) as models:
            act(models)
    assert path.read_text() == FILE


def test_a_block_that_raises_writes_nothing(path: Path) -> None:
    def fail() -> None:
        with edit(path) as models:
            models.remove("small")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == FILE


@pytest.mark.req("F-172")
def test_a_file_that_is_wrong_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("models:\n  - id: a\n")
    with pytest.raises(InvalidRequest, match=r"^models\.yaml:2: "), edit(path) as models:
        models.add({"id": "b", "provider": "c"})
    assert path.read_text() == "models:\n  - id: a\n"


@pytest.mark.req("F-173")
def test_a_failing_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull, match="No space left"), edit(path) as models:
        models.remove("small")
    assert path.read_text() == FILE


def test_edits_at_the_same_time_all_arrive(path: Path) -> None:
    def add(name: str) -> None:
        with edit(path) as models:
            models.add({"id": name, "provider": "mock"})

    names = [f"m{number}" for number in range(8)]
    threads = [threading.Thread(target=add, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ids(path)) == sorted(["small", "large", *names])


def test_the_starter_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "models.yaml"
    assert create(path)
    assert "#" in path.read_text()
    assert read(path).entries == ()
    assert not create(path)
    with edit(path) as models:
        models.add({"id": "a", "provider": "b"})
        models.set_default_model("a")
    assert (ids(path), read(path).default_model) == (["a"], "a")
    assert not create(path)
    assert ids(path) == ["a"]


def test_editing_a_file_that_is_not_there_begins_with_the_starter(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    with edit(path) as models:
        models.add({"id": "a", "provider": "b"})
    assert ids(path) == ["a"]
    assert path.read_text().startswith("# The models")


def test_the_lock_is_held_for_the_whole_edit(path: Path) -> None:
    with edit(path), pytest.raises(Exception, match="another process"), atomic.locked(path, wait=0.0):
        pass


words = st.text(
    alphabet=st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff"), min_size=1, max_size=15
)
names = words.filter(lambda word: word.isprintable() and word.strip() == word and not word.startswith("-"))
names = names.filter(lambda word: word.lower() not in {"default", "auto"})
options = st.recursive(
    st.booleans() | st.integers(-1000, 1000) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


@given(
    st.lists(
        st.tuples(names, words, st.dictionaries(words, options, max_size=3)), max_size=4, unique_by=lambda each: each[0]
    ),
    st.data(),
)
def test_any_edit_keeps_every_comment_and_every_other_entry(
    entries: list[tuple[str, str, dict[str, Any]]], data: st.DataObject
) -> None:
    editor = Editor(FILE, Path("models.yaml"))
    entries = [each for each in entries if each[0] not in {"small", "large"}]
    editor.add(
        *({"id": name, "provider": "p", "description": text, "config": config} for name, text, config in entries)
    )
    for name, text, config in entries:
        entry = next(each for each in editor.models.entries if each.id == name)
        assert (entry.description, entry.config) == (text, config)
    for name, text, _ in entries:
        match data.draw(st.sampled_from(["remove", "update", "default"])):
            case "remove":
                editor.remove(name)
            case "update":
                editor.update(name, {"description": text[::-1], "pinned": True})
                entry = next(each for each in editor.models.entries if each.id == name)
                assert (entry.description, entry.pinned) == (text[::-1], True)
            case _:
                editor.set_default_model(name)
                assert editor.models.default_model == name
    small, large = (next(each for each in editor.models.entries if each.id == name) for name in ("small", "large"))
    assert (small, large) == Editor(FILE, Path("models.yaml")).models.entries
    lines = editor.text.splitlines()
    comments = [line for line in FILE.splitlines() if "#" in line and "default_model" not in line]
    assert [line for line in lines if line in comments] == comments


def test_updating_several_at_once(path: Path) -> None:
    with edit(path) as models:
        models.update_all(["large", "small"], {"enabled": False})
    text = path.read_text()
    assert [entry.enabled for entry in read(path).entries] == [False, False]
    assert "- id: small            # first" in text
    assert "  # ---- large ones ----\n" in text
    assert text.endswith("# the end\n")


def test_a_file_that_would_be_too_large_to_read_is_not_written(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(InvalidRequest, match="larger than 1 MiB"), edit(path) as models:
        models.add({"id": "long", "provider": "mlx", "description": "x" * (1 << 20)})
    assert path.read_bytes() == before
