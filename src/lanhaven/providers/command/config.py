"""The `config:` of a command model in models.yaml, and the provider's own settings. No error repeats an argument,
a variable or a key."""

from __future__ import annotations

import os
import re
import shlex
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lanhaven.errors import InvalidRequest
from lanhaven.providers.defaults import READERS, Defaults
from lanhaven.providers.settings import Reader, Shaped, flag, integer, one_of, read_all, shaped, some_seconds
from lanhaven.providers.settings import seconds as any_seconds
from lanhaven.types.chat import PASSED
from lanhaven.types.models import ModelKind

# Word of `routes` -> the route of the program.
ROUTES: Mapping[str, str] = MappingProxyType(
    {
        "chat": "/v1/chat/completions",
        "completion": "/v1/completions",
        "embedding": "/v1/embeddings",
        "rerank": "/v1/rerank",
        **{str(route.capability): str(route) for route in sorted(PASSED)},
        "tokenize": "/tokenize",
        "template": "/apply-template",
        "input_tokens": "/v1/chat/completions/input_tokens",
    }
)
BESIDES = frozenset({"tokenize", "template", "input_tokens"})  # no capabilities of a model
TALENTS = ("tools", "vision", "thinking")
PLACES = ("PORT", "SOCKET", "KEY", "MODEL")
GROUP, ANY = "group", "any"

_USUAL: Mapping[ModelKind, tuple[str, ...]] = MappingProxyType(
    {
        ModelKind.LLM: ("chat", "completion"),
        ModelKind.VLM: ("chat", "completion"),
        ModelKind.EMBEDDING: ("embedding",),
        ModelKind.RERANKER: ("rerank",),
    }
)
_PLACE = re.compile(r"\$(\$\{)|\$\{([^}]*)\}")
_SHELL = frozenset({"|", "||", "&", "&&", ";", ">", ">>", "<", "2>", "2>&1"})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PATH = re.compile(r"/[!-~]*")
_KEY = re.compile(r"[!-~]+")
_STOPS = ("TERM", "INT", "QUIT", "HUP", "USR1", "USR2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One model's settings. `command` and `env` with their places still open."""

    command: tuple[str, ...] = field(repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: Path | None = None
    port: int | None = None  # None: a free one, at each start
    listener: str = GROUP
    health: str | None = None
    model: str | None = None
    kind: ModelKind = ModelKind.LLM
    routes: frozenset[str] = frozenset()
    capabilities: frozenset[str] | None = None
    context_length: int | None = None
    slots: int | None = None
    api_key: str | None = field(default=None, repr=False)
    start_timeout: float | None = None
    stop_signal: int = signal.SIGTERM
    stop_seconds: float | None = None
    memory_bytes: int = 0
    keep_log: bool = True

    def uses(self, place: str) -> bool:
        """Whether the command or its environment has this place."""
        texts = (*self.command, *self.env.values())
        return any(place == match[2] for text in texts for match in _PLACE.finditer(text))

    def filled(self, values: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        """The command and its variables with these values in their places."""

        def fill(text: str) -> str:
            return _PLACE.sub(lambda match: "${" if match[1] else values[match[2]], text)

        return [fill(each) for each in self.command], {name: fill(value) for name, value in self.env.items()}


def read_program(config: Mapping[str, Any]) -> Program:
    """InvalidRequest names the setting that is unknown, of the wrong type, or at odds with another."""
    said = read_all(config, _READERS, "command")
    if "command" not in said:
        raise InvalidRequest("config.command is missing: the program, and its arguments.", param="command")
    names = said.pop("routes", ())
    kind = said.setdefault("kind", _kind_of(names, said.get("capabilities", ())))
    said["routes"] = frozenset(names or _USUAL[kind])
    said["memory_bytes"] = said.pop("memory_mib", 0) << 20
    program = Program(**said)
    _check_address(program)
    if program.uses("KEY") and program.api_key is not None:
        raise InvalidRequest("config.api_key must not stand beside ${KEY}, a new key at each start.", param="api_key")
    return program


def _check_address(program: Program) -> None:
    ways = [program.uses("PORT"), program.uses("SOCKET"), program.port is not None]
    if sum(ways) != 1:
        raise InvalidRequest(
            "config.command must say where the program shall listen, in one way:"
            " ${PORT} or ${SOCKET} in the command or in env, or the setting port for one that has a port of its own.",
            param="command",
        )


def _kind_of(routes: Sequence[str], capabilities: Sequence[str]) -> ModelKind:
    if not routes or "chat" in routes or "completion" in routes:
        return ModelKind.VLM if "vision" in capabilities else ModelKind.LLM
    if "embedding" in routes:
        return ModelKind.EMBEDDING
    return ModelKind.RERANKER if "rerank" in routes else ModelKind.LLM


def read_defaults(options: Mapping[str, Any]) -> Defaults:
    """The provider's block in config.yaml together with the general settings. InvalidRequest as above."""
    return Defaults(**read_all(options, READERS, "command"))


# ---- readers


@shaped(type="string", pattern=r"\S")
def _text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise InvalidRequest(f"config.{key} must be a text.", param=key)
    return value


def _matching(pattern: re.Pattern[str], wanted: str) -> Reader:
    def read(key: str, value: Any) -> str:
        if not pattern.fullmatch(_text(key, value)):
            raise InvalidRequest(f"config.{key} must be {wanted}.", param=key)
        return str(value)

    return Shaped(read, {"type": "string", "pattern": f"^({pattern.pattern})$"})


@shaped(type=["string", "array"], minItems=1, items={"type": ["string", "number"]})
def _words(key: str, value: Any) -> tuple[str, ...]:
    """A list is taken as it is; a text is cut as a shell would cut it, by no shell."""
    if isinstance(value, str):
        try:
            words = shlex.split(_text(key, value))
        except ValueError:
            raise InvalidRequest(f"config.{key} has a quotation mark that is not closed.", param=key) from None
        if signs := _SHELL & set(words):
            raise InvalidRequest(
                f"config.{key} holds {min(signs)}, but no shell runs it.", param=key, hint="command: [sh, -c, '...']"
            )
    elif isinstance(value, list) and all(type(each) in (str, int, float) for each in value):
        words = [str(each) for each in value]
    else:
        raise InvalidRequest(f"config.{key} must be a list of arguments, or a line of them.", param=key)
    if not words or not words[0] or any("\0" in each for each in words):
        raise InvalidRequest(f"config.{key} must begin with a program.", param=key)
    for each in words:
        _check_places(key, each)
    return tuple(_at_home(each) for each in words)


def _at_home(word: str) -> str:
    return os.path.expanduser(word) if word.startswith("~/") else word  # noqa: PTH111 - Path raises without a home


@shaped(type="object", additionalProperties={"type": ["string", "number"]})
def _variables(key: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise InvalidRequest(f"config.{key} must be a mapping from names to texts.", param=key)
    read: dict[str, str] = {}
    for name, each in value.items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            raise InvalidRequest(f"config.{key} has a name that no variable can have.", param=key)
        if type(each) not in (str, int, float) or "\0" in str(each):
            raise InvalidRequest(f"config.{key}.{name} must be a text.", param=f"{key}.{name}")
        _check_places(f"{key}.{name}", str(each))
        read[name] = str(each)
    return read


def _check_places(key: str, text: str) -> None:
    for match in _PLACE.finditer(text):
        if not match[1] and match[2] not in PLACES:
            known = ", ".join(f"${{{each}}}" for each in PLACES)
            raise InvalidRequest(
                f"config.{key} holds ${{{match[2]}}}, which is unknown; there are {known}.",
                param=key,
                hint="write $${...} for the letters themselves",
            )


@shaped(type="string", pattern="^[~/]")
def _folder(key: str, value: Any) -> Path:
    folder = Path(_at_home(_text(key, value)))
    if not folder.is_absolute():
        raise InvalidRequest(f"config.{key} must be an absolute path.", param=key)
    return folder


def _several(names: Sequence[str]) -> Callable[[str, Any], tuple[str, ...]]:
    def read(key: str, value: Any) -> tuple[str, ...]:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list) or not items or not all(each in names for each in items):
            raise InvalidRequest(f"config.{key} must be a list of these: {', '.join(names)}.", param=key)
        return tuple(items)

    return Shaped(read, {"anyOf": [{"enum": [*names]}, {"type": "array", "items": {"enum": [*names]}, "minItems": 1}]})


@shaped(anyOf=[{"enum": [*TALENTS]}, {"type": "array", "items": {"enum": [*TALENTS]}}])
def _talents(key: str, value: Any) -> frozenset[str]:
    return frozenset(_several(TALENTS)(key, value)) if value != [] else frozenset()


@shaped(type="string", pattern=f"^([sS][iI][gG])?({'|'.join(_STOPS)}|{'|'.join(_STOPS).lower()})$")
def _stop(key: str, value: Any) -> int:
    name = str(value).upper().removeprefix("SIG")
    if name not in _STOPS:
        raise InvalidRequest(f"config.{key} must be one of {', '.join(_STOPS)}.", param=key)
    return int(signal.Signals[f"SIG{name}"])


@shaped(enum=[each.value for each in ModelKind])
def _kind(key: str, value: Any) -> ModelKind:
    return ModelKind(one_of([each.value for each in ModelKind])(key, value))


_READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "command": _words,
        "env": _variables,
        "cwd": _folder,
        "port": integer(1, 65535),
        "listener": one_of((GROUP, ANY)),
        "health": _matching(_PATH, "a path that begins with /"),
        "model": _text,
        "kind": _kind,
        "routes": _several(tuple(ROUTES)),
        "capabilities": _talents,
        "context_length": integer(1),
        "slots": integer(1, 256),
        "api_key": _matching(_KEY, "a text without blanks"),
        "start_timeout": some_seconds,
        "stop_signal": _stop,
        "stop_seconds": any_seconds,
        "memory_mib": integer(0),
        "keep_log": flag,
    }
)
