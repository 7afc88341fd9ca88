"""A Dockerfile as a list of instructions, by stage. Only the forms that ours uses: what else there is, is an error."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

KNOWN = frozenset(
    {"COPY", "RUN", "ENV", "WORKDIR", "VOLUME", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
)


@dataclass(frozen=True, slots=True)
class Stage:
    """From one FROM to the next. steps: (instruction, what follows it), in order."""

    image: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def of(self, word: str) -> list[str]:
        return [rest for step, rest in self.steps if step == word]

    def exec_form(self, word: str) -> list[str]:
        """The words of the last CMD or ENTRYPOINT, which must be a JSON list: a shell would not hand signals on."""
        found: list[str] = json.loads(self.of(word)[-1])
        return found

    @property
    def environment(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for rest in self.of("ENV") for pair in shlex.split(rest))

    @property
    def healthcheck(self) -> list[str]:
        found: list[str] = json.loads(self.of("HEALTHCHECK")[-1].partition(" CMD ")[2])
        return found


def stages(path: Path) -> list[Stage]:
    """ValueError for a line that docker would not take, or that nobody here can read."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    found: list[Stage] = []
    for line in filter(None, map(str.strip, lines)):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            image, _, name = rest.partition(" AS ")
            found.append(Stage(image, name))
        elif word not in KNOWN or not found:
            raise ValueError(f"what is {line!r}?")
        else:
            found[-1].steps.append((word, rest.strip()))
    return found
