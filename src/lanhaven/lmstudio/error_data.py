"""Errors as LM Studio sends them over its WebSockets: a title, and maybe a cause, advice and data to show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Codes of `displayData` (lmstudio-js, GenericErrorDisplayData.ts).
PATH_NOT_FOUND = "generic.pathNotFound"
IDENTIFIER_NOT_FOUND = "generic.identifierNotFound"
NO_MODEL_MATCHING = "generic.noModelMatchingQuery"
MODEL_UNLOADED = "generic.specificModelUnloaded"
DOMAIN_MISMATCH = "generic.domainMismatch"
PRESET_NOT_FOUND = "generic.presetNotFound"

NOT_THERE = frozenset({PATH_NOT_FOUND, IDENTIFIER_NOT_FOUND, NO_MODEL_MATCHING, MODEL_UNLOADED})
MOST = 500  # characters of one text that are kept


@dataclass(frozen=True, slots=True)
class ErrorData:
    """What of an error is of use. Fields of a wrong type are dropped, as LM Studio's own clients do."""

    title: str = "Unknown error"
    cause: str = ""
    suggestion: str = ""
    code: str = ""  # of displayData

    @property
    def text(self) -> str:
        """Title and cause in one sentence."""
        told = self.cause and self.cause not in self.title
        return f"{self.title.rstrip('.')}: {self.cause}" if told else self.title

    @property
    def about_absence(self) -> bool:
        """The model or the instance is not there."""
        return self.code in NOT_THERE

    @property
    def about_presence(self) -> bool:
        """The identifier is taken. LM Studio has no code for it, only the words."""
        said = f"{self.title} {self.cause}".lower()
        return "already exists" in said or "already loaded" in said


def read_error(value: Any) -> ErrorData:
    """Of anything that stands where an error should."""
    if isinstance(value, str):
        return ErrorData(_text(value) or "Unknown error")
    if not isinstance(value, Mapping):
        return ErrorData()
    display = value.get("displayData")
    code = display.get("code") if isinstance(display, Mapping) else None
    title = _text(value.get("title")) or _text(value.get("rootTitle")) or "Unknown error"
    return ErrorData(title, _text(value.get("cause")), _text(value.get("suggestion")), _text(code))


def _text(value: Any) -> str:
    return " ".join(value[:MOST].split()) if isinstance(value, str) else ""
