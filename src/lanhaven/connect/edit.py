"""Settings put into the text of a file that may hold much else, all of which stays."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from lanhaven.connect import json_text, toml_text, yaml_text
from lanhaven.connect.merging import Change, changes, merged
from lanhaven.errors import InvalidRequest

_COMMENT = re.compile(r"(?:^|\s)(#|//).*\S")


@dataclass(frozen=True, slots=True)
class Language:
    """How a kind of file is read, and changed."""

    data: Callable[[str], Any]
    with_changes: Callable[[str, Sequence[Change]], str]


LANGUAGES: Mapping[str, Language] = MappingProxyType(
    {
        "json": Language(json_text.data, json_text.with_changes),
        "toml": Language(toml_text.data, toml_text.with_changes),
        "yaml": Language(yaml_text.data, yaml_text.with_changes),
    }
)


def edited(text: str, settings: str, language: str, keep: Sequence[str] = ()) -> str:
    """`text` (of a file) with all that `settings` (text of the same kind) says; `keep`: see `merging.changes`.

    InvalidRequest if the file cannot be read, or could not be changed without losing something.
    """
    if "\r\n" in text:
        return edited(text.replace("\r\n", "\n"), settings, language, keep).replace("\n", "\r\n")
    known = LANGUAGES[language]
    try:
        old, wanted = known.data(text), known.data(settings)
    except ValueError as error:
        hint = "mend it, or paste the text into it yourself"
        raise InvalidRequest(f"the file is not {language.upper()} ({error})", hint=hint) from error
    if not old and not _comments(text):
        return settings
    try:
        after = _changed(known, text, settings, list(changes(old, wanted, keep)))
        whole = known.data(after) == merged(old, wanted, keep) and all(each in after for each in _comments(text))
    except ValueError:
        whole = False
    if not whole:
        hint = "paste the text into it yourself"
        raise InvalidRequest("the file cannot be changed without losing something of it", hint=hint)
    return after


def _changed(known: Language, text: str, settings: str, wanted: Sequence[Change]) -> str:
    if wanted and not wanted[0].path:  # nothing but comments, or a list where a mapping is to be
        return f"{text.rstrip()}\n{settings}"
    return known.with_changes(text, wanted)


def with_block(text: str, lines: str, app: str) -> str:
    """`text` (of a shell's start-up file) with these lines between two marks, in place of those that were there."""
    first, last = f"# >>> lanhaven connect {app} >>>", f"# <<< lanhaven connect {app} <<<"
    block = f"{first}\n{lines.rstrip()}\n{last}\n"
    old = re.compile(rf"^{re.escape(first)}\n.*?^{re.escape(last)}\n?", re.MULTILINE | re.DOTALL)
    if old.search(text):
        return old.sub(lambda _: block, text, count=1)
    gap = "" if not text or text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
    return f"{text}{gap}{block}"


def _comments(text: str) -> set[str]:
    """What looks like a comment, each without the blanks around it."""
    return {found[0].strip() for line in text.splitlines() if (found := _COMMENT.search(line))}
