"""The kinds of steps, short to write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lanhaven.connect.quoting import document, exports
from lanhaven.connect.recipe import Step, StepKind, Where


def variables(environment: Mapping[str, str], title: str = "Set the environment") -> Step:
    """Variables of a shell."""
    return Step(title, StepKind.SHELL, exports(environment), "sh", environment=environment)


def shell(title: str, text: str) -> Step:
    """Commands."""
    return Step(title, StepKind.SHELL, text if text.endswith("\n") else f"{text}\n", "sh")


def json_file(where: Where, value: Any, title: str = "") -> Step:
    """Settings in a JSON file, whose comments may stay."""
    return Step(title or f"Put this into {where.linux}", StepKind.FILE, document(value), "json", where)


def file(where: Where, language: str, text: str, *, keep: tuple[str, ...] = (), title: str = "") -> Step:
    """Settings in a file of another kind."""
    return Step(title or f"Put this into {where.linux}", StepKind.FILE, text, language, where, keep)


def settings(title: str, **entered: str) -> Step:
    """What is entered in the app: the label of each setting (with _ for a blank), and its value."""
    lines = (f"{label.replace('_', ' ')}: {value}\n" for label, value in entered.items())
    return Step(title, StepKind.SETTINGS, "".join(lines))


def code(title: str, language: str, text: str) -> Step:
    """Part of a program."""
    return Step(title, StepKind.CODE, text, language)


def snippet(steps: Sequence[Step]) -> Step:
    """The step that holds the address and the key, of those the first."""
    return next((each for each in steps if each.environment or each.kind is not StepKind.SHELL), steps[0])
