"""Edits of files of every shape that people write."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanhaven.errors import InvalidRequest
from lanhaven.models_file import edit, read
from lanhaven.providers.base import ModelEntry


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "models.yaml"


def ids(path: Path) -> list[str]:
    return [entry.id for entry in read(path).entries]


def by_id(path: Path, name: str) -> ModelEntry:
    return next(entry for entry in read(path).entries if entry.id == name)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# mine\nmodels: []\n", "# mine\ndefault_model: a\nmodels: []\n"),
        ("# mine\n\n# the models\nmodels: []\n", "# mine\n\ndefault_model: a\n# the models\nmodels: []\n"),
        ("# mine\n", "# mine\ndefault_model: a\n"),
        ("default_model:   # none\n", "default_model: a   # none\n"),
        ("default_model: >-\n  b\nmodels: []\n", "default_model: a\nmodels: []\n"),
    ],
)
def test_where_the_default_model_goes(path: Path, before: str, after: str) -> None:
    path.write_text(before)
    with edit(path) as models:
        models.set_default_model("a")
    assert path.read_text() == after


@pytest.mark.parametrize(
    "text", [":0", "?0", "- x", "a: b", "a #b", "no", "12:30:45", "1.0", "~", "", " x", "!x", "&x", "|", "@"]
)
def test_text_that_yaml_could_take_for_something_else_is_quoted(path: Path, text: str) -> None:
    path.write_text("models:\n- id: small\n  provider: p\n  config: {a: 1}\n")
    with edit(path) as models:
        models.add({"id": "x", "provider": "p", "description": text, "config": {text or "y": [text]}})
        models.update("small", {"description": text, "config": {text or "y": {"z": text}}})
    assert (by_id(path, "x").description, by_id(path, "x").config) == (text, {text or "y": [text]})
    assert by_id(path, "small").config[text or "y"] == {"z": text}
    assert not text or f'description: "{text}"' in path.read_text()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", None),
        ("# mine\n", "# mine\n\nmodels:\n  - id: a\n    provider: b\n"),
        ("models: []  # none yet\n# end\n", "models:  # none yet\n  - id: a\n    provider: b\n# end\n"),
        ("models:\n", "models:\n  - id: a\n    provider: b\n"),
        ("models:   # none yet\n", "models:   # none yet\n  - id: a\n    provider: b\n"),
        ("models: ~\ndefault_model: a\n", "models:\n  - id: a\n    provider: b\ndefault_model: a\n"),
        ("models:\n- id: x\n  provider: y", "models:\n- id: x\n  provider: y\n- id: a\n  provider: b\n"),
        (
            "models:\n    -   id: x\n        provider: y\n",
            "models:\n    -   id: x\n        provider: y\n    - id: a\n      provider: b\n",
        ),
        (
            "models:\n- {id: x, provider: y}\n\n# end",
            "models:\n- {id: x, provider: y}\n- id: a\n  provider: b\n\n# end\n",
        ),
    ],
)
def test_adding_to_files_of_every_shape(path: Path, before: str, after: str | None) -> None:
    path.write_text(before)
    with edit(path) as models:
        models.add({"id": "a", "provider": "b"})
    assert ids(path)[-1] == "a"
    assert after is None or path.read_text().split() == after.split()
    assert after is None or "#" in before or path.read_text() == after


@pytest.mark.parametrize(
    "text",
    [
        "models:\n-   id: a   # one\n    provider: b\n- {id: c, provider: d}  # two\n",
        "models:\n  -\n    # heading\n    id: a\n    provider: b\n  - id: c\n    provider: d\n",
        "models:\n  - id: a\n# far left\n    provider: b\n  - id: c\n    provider: d\n",
        "---\nmodels:\n- id: a\n  provider: b\n  description: >-\n    folded\n    # text\n\n- id: c\n  provider: d\n",
        "models:\n- id: a\n  provider: b\n  description:\n\n# heading\n- id: c\n  provider: d\n  tags:   # two\n",
        "models:\n  - id: a\n    provider: b\n    description: 'over\n      two lines'\n  - id: c\n    provider: d\n",
    ],
)
@pytest.mark.parametrize("target", ["a", "c"])
def test_updating_and_removing_in_files_of_every_shape(path: Path, text: str, target: str) -> None:
    path.write_text(text)
    comments = [part for part in ("# one", "# two", "# heading", "# far left") if part in text]
    with edit(path) as models:
        models.update(target, {"pinned": True, "load": {"slots": 3}})
    assert [(entry.id, entry.pinned) for entry in read(path).entries] == [("a", target == "a"), ("c", target == "c")]
    assert all(comment in path.read_text() for comment in comments)
    with edit(path) as models:
        models.remove(target)
    assert ids(path) == [{"a": "c", "c": "a"}[target]]


@pytest.mark.parametrize("text", ["models: [{id: a, provider: b}]\n", "{models: [{id: a, provider: b}]}\n"])
def test_models_in_brackets_are_not_edited(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(InvalidRequest, match="in brackets cannot be edited"), edit(path) as models:
        models.remove("a")
    assert path.read_text() == text


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85"])
def test_signs_that_only_python_takes_for_the_end_of_a_line(path: Path, sign: str) -> None:
    """They come along with texts that are pasted from elsewhere. In quotes: in a comment YAML itself refuses them."""
    first = f'  - id: a\n    provider: p\n    description: "one{sign}two"\n'
    path.write_text(f"models:\n{first}  - id: b\n    provider: p\n")
    with edit(path) as models:
        models.update("b", {"pinned": True})
    assert path.read_text() == f"models:\n{first}  - id: b\n    provider: p\n    pinned: true\n"
    with edit(path) as models:
        models.update("a", {"pinned": True})
        models.remove("b")
    assert (ids(path), by_id(path, "a").pinned) == (["a"], True)
    assert by_id(path, "a").description.replace(sign, " ") == "one two"
