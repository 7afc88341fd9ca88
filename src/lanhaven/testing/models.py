"""The models of a mock server, and the files that describe them together with what they shall answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lanhaven.engines.scripted_script import Step, step_of
from lanhaven.errors import InvalidRequest, NotFound

PROVIDER = "mock"
TOP = frozenset({"models", "replies"})


class MockModel:
    """`key` is its name; `config` as of a mock model in models.yaml (docs/mock.md): kind, answer, load_seconds, ..."""

    __slots__ = ("config", "key")

    def __init__(self, key: str, **config: Any) -> None:
        self.key = key
        self.config: Mapping[str, Any] = config

    @property
    def entry(self) -> dict[str, Any]:
        """As models.yaml has it."""
        return {"id": self.key, "provider": PROVIDER, "config": dict(self.config)}

    def __repr__(self) -> str:
        return (
            f"MockModel({', '.join([repr(self.key), *(f'{name}={value!r}' for name, value in self.config.items())])})"
        )


DEFAULT = (MockModel("mock-chat"), MockModel("mock-embedding", kind="embedding", dimensions=384))


def entries_of(models: Sequence[str | MockModel]) -> list[dict[str, Any]]:
    """For models.yaml; a name is a chat model that repeats what it is told."""
    return [(MockModel(each) if isinstance(each, str) else each).entry for each in models or DEFAULT]


@dataclass(frozen=True, slots=True)
class ScriptFile:
    """What a script file says. No entries: nothing about models."""

    entries: list[dict[str, Any]]
    steps: list[Step]


def read_script(path: Path) -> ScriptFile:
    """YAML or JSON: `models` (names, or entries as in models.yaml) and `replies`. NotFound, InvalidRequest."""
    from lanhaven.config.yaml_text import plain, read_file

    try:
        said = plain(read_file(path))
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.", hint="give the path of a script; docs/mock-lmstudio.md") from None
    unknown = sorted(said.keys() - TOP)
    if unknown:
        raise InvalidRequest(f"{path.name}: {unknown[0]!r} is not known; a script has models and replies.")
    entries = [_entry(each, path) for each in _list(said, "models", path)]
    try:
        return ScriptFile(entries, [step_of(each) for each in _list(said, "replies", path)])
    except InvalidRequest as error:
        raise InvalidRequest(f"{path.name}: {error.message}", param=error.param) from None


def _list(said: Mapping[str, Any], name: str, path: Path) -> list[Any]:
    value = said.get(name)
    if value is not None and not isinstance(value, list):
        raise InvalidRequest(f"{path.name}: {name} must be a list.", param=name)
    return value or []


def _entry(value: object, path: Path) -> dict[str, Any]:
    if isinstance(value, str):
        return MockModel(value).entry
    if not isinstance(value, dict) or "id" not in value:
        raise InvalidRequest(f"{path.name}: a model must be a name, or an entry as in models.yaml.", param="models")
    return {"provider": PROVIDER, **value}
