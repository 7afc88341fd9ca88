"""Entries as YAML text, and changes to the text of one entry."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, MutableMapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from lanhaven.config.yaml_text import Scalar, plain
from lanhaven.models_file.values import snake

WIDEST = 1 << 20  # never fold a long line: a path that is cut in two reads badly

# What is written without quotes. Everything else gets them: ruamel writes "?0" and ":0" so that it misreads them,
# and other programs, of YAML 1.1, take `no` and `12:30` for something else than text.
_BARE = re.compile(r"[A-Za-z0-9_~/.]([\w./~+@=(),-]| (?=[\w./~+@=(),-])|:(?=[\w/]))*", re.ASCII)
_WORDS_OF_OLD = frozenset({"yes", "no", "on", "off", "y", "n"})


def rendered(entry: Mapping[str, Any]) -> list[str]:
    """The lines of a new entry, without its dash."""
    return _dump(_plain(entry))


def setting(name: str, value: str | float) -> str:
    """One line `name: value`."""
    return _dump({name: _plain(value)})[0]


def changed(snippet: str, changes: Mapping[str, Any]) -> list[str]:
    """The lines of an entry with changes laid over it; its own comments stay."""
    entry = _yaml().load(snippet)
    _merge(entry, changes)
    return _dump(entry)


def _merge(target: MutableMapping[str, Any], changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        present = next((key for key in target if snake(str(key)) == snake(name)), name)
        existing = target.get(present)
        if value is None:
            target.pop(present, None)
        elif isinstance(value, Mapping) and isinstance(existing, MutableMapping):
            _merge(existing, value)
        else:
            target[_text(str(present)) if present == name else present] = _plain(value)


def _plain(value: Any) -> Any:
    """Mappings, sequences and scalars only, without what is None."""
    if isinstance(value, Mapping):
        return {_text(str(key)): _plain(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, tuple | list | frozenset | set):
        return [_plain(inner) for inner in value if inner is not None]
    return value if isinstance(value, bool | int | float) else _text(str(value))


def _text(value: str) -> str:
    """The string as ruamel shall write it, quoted where bare it could be taken for something else."""
    bare = _BARE.fullmatch(value) and value.lower() not in _WORDS_OF_OLD and not re.fullmatch(r"[0-9:.]+", value)
    return value if bare and plain(Scalar(value, quoted=False, line=0)) == value else DoubleQuotedScalarString(value)


def _dump(data: Any) -> list[str]:
    stream = io.StringIO()
    _yaml().dump(data, stream)
    return stream.getvalue().rstrip("\n").split("\n")


def _yaml() -> YAML:
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = WIDEST
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml
