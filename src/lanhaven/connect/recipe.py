"""What a recipe is: how one app is connected, as values. Pure: no file is read, no server asked, no program started."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

KEY = "{{key}}"  # where the key goes, as long as there is none
NO_KEY = "not-needed"  # what a server without keys is given: many apps refuse an empty one
NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Place:
    """What a recipe is filled with.

    url: of the server, without a slash at its end. context: tokens that a request may have, None where nobody knows.
    tools, vision: whether the model can; None where nobody knows. chat: whether it writes at all (embeddings do not).
    longest: the context that the model could have at most. own_ca: the server's certificate is of its own authority.
    """

    url: str
    model: str
    key: str = KEY
    key_required: bool = False
    context: int | None = None
    longest: int | None = None
    tools: bool | None = None
    vision: bool | None = None
    chat: bool = True
    own_ca: bool = False

    @property
    def v1(self) -> str:
        """The base URL of OpenAI's API."""
        return f"{self.url}/v1"


class Kind(StrEnum):
    """What an app is for; the page groups its cards by this."""

    AGENT = "agent"
    EDITOR = "editor"
    CHAT = "chat"
    HOME = "home"
    CODE = "code"
    OTHER = "other"


class StepKind(StrEnum):
    """What is done with the text of a step."""

    SHELL = "shell"  # typed into a shell
    FILE = "file"  # put into a file that the app reads
    SETTINGS = "settings"  # entered in the app, one setting a line
    CODE = "code"  # part of a program


@dataclass(frozen=True, slots=True)
class Where:
    """Where an app reads a file: a path of Linux, with ~ for the home folder, and where other systems differ.

    variable: the environment variable that names the folder instead, and the file's path in it.
    """

    linux: str
    macos: str = ""
    windows: str = ""
    variable: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do.

    language: of the text, for colours and for whoever merges a file (json, yaml, toml). where, keep: of a file; `keep`
    are settings at its top that stay as they are if they are there. environment: what a shell step sets.
    """

    title: str
    kind: StepKind
    text: str
    language: str = ""
    where: Where | None = None
    keep: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True)
class Probe:
    """One request as the app makes it. It went well if the status is 2xx and the reply holds `expect`."""

    name: str
    method: str
    path: str
    body: Mapping[str, Any] | None = None
    expect: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """How the app is started from a shell, connected, with no file changed."""

    program: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True)
class Needs:
    """What an app wants of a model. context: tokens that it works well with. prompt: those of its first prompt."""

    tools: bool = False
    context: int = 0
    prompt: int = 0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one app is connected.

    programs: commands whose presence says that it is installed. tested: the version that was tried, or whose requests
    are replayed. notes: what is in the way, whatever the model; a sentence each.
    """

    id: str
    name: str
    about: str
    kind: Kind
    dialect: str
    steps: Callable[[Place], Sequence[Step]]
    probes: Callable[[Place], Sequence[Probe]]
    needs: Needs = field(default_factory=Needs)
    programs: tuple[str, ...] = ()
    tested: str = ""
    run: Callable[[Place], Run] | None = None
    notes: Callable[[Place], Sequence[str]] = lambda place: ()
