"""Values as words of a shell, of files and of programs: a model may have any name, an address comes from a page."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from lanhaven.connect.recipe import KEY

_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+=,-]+")


def word(text: str) -> str:
    """One word of a POSIX shell. The place for the key stays as it is: what goes there needs no quotes."""
    return text if text == KEY or _PLAIN.fullmatch(text) else shlex.quote(text)


def exports(environment: Mapping[str, str]) -> str:
    """Lines that set these variables."""
    return "".join(f"export {name}={word(value)}\n" for name, value in environment.items())


def command(*words: str) -> str:
    """One line."""
    return " ".join(word(each) for each in words)


def quoted(text: str) -> str:
    """A string in double quotes, the same in JSON, TOML, YAML, Python and JavaScript."""
    return json.dumps(text, ensure_ascii=False)


def document(value: Any) -> str:
    """A JSON file."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
