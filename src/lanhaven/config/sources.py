"""Where settings come from: flags > LANHAVEN_* environment > .env > config.yaml > defaults. Origins are kept."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lanhaven.config import places
from lanhaven.config.environ import environment
from lanhaven.config.settings import Settings, derived
from lanhaven.errors import InvalidRequest

PREFIX = "LANHAVEN_"
LIST_FIELDS = frozenset(
    {"also_listen", "trusted_proxies", "ip_allowlist", "allowed_hosts", "lmstudio_guests", "cors_origins"}
)
SECRET_FIELDS = frozenset({"api_key", "providers"})
FIELDS = tuple(Settings.model_fields)


def _as_written(text: str) -> str:
    return text


def _milliseconds(text: str) -> str:
    """PROXY_TIMEOUT and its sibling are in milliseconds where no unit stands."""
    return f"{text.strip()}ms" if text.strip().replace(".", "", 1).isdigit() else text


def _environment_kind(text: str) -> str:
    """NODE_ENV and APP_ENV belong to other programs too: a word we do not know means production."""
    known = {"development": "local", "dev": "local", "local": "local", "test": "test", "testing": "test"}
    return known.get(text.strip().lower(), "production")


@dataclass(frozen=True, slots=True)
class Alias:
    """A variable that is read besides LANHAVEN_<SETTING>."""

    name: str
    convert: Callable[[str], str] = _as_written


ALIASES: Mapping[str, tuple[Alias, ...]] = MappingProxyType(
    {
        "host": (Alias("GATEWAY_HOST"),),
        "port": (Alias("GATEWAY_PORT"),),
        "api_key": (Alias("GATEWAY_API_KEY"),),
        "ip_allowlist": (Alias("IP_ALLOWLIST"),),
        "require_auth_for_health": (Alias("REQUIRE_AUTH_FOR_HEALTH"),),
        "log_level": (Alias("LOG_LEVEL"),),
        "proxy_timeout": (Alias("PROXY_TIMEOUT", _milliseconds),),
        "proxy_stream_timeout": (Alias("PROXY_STREAM_TIMEOUT", _milliseconds),),
        "lmstudio_base_url": (Alias("LMSTUDIO_BASE_URL"), Alias("LM_STUDIO_BASE_URL")),
        "env": (Alias("GATEWAY_ENV"), Alias("NODE_ENV", _environment_kind), Alias("APP_ENV", _environment_kind)),
    }
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from. `name` is the flag's setting, the variable, the file's path, or why a default moved."""

    kind: Literal["flag", "env", ".env", "file", "default"]
    name: str = ""
    line: int | None = None

    def __str__(self) -> str:
        where = f"{self.name}:{self.line}" if self.line is not None else self.name
        match self.kind:
            case "file":
                return where
            case "flag":
                return f"flag --{self.name.replace('_', '-')}"
            case _:
                return f"{self.kind} {where}".rstrip()


@dataclass(frozen=True, slots=True)
class _Said:
    value: Any
    origin: Origin


def load_settings(overrides: Mapping[str, Any] = MappingProxyType({}), *, config_file: Path | None = None) -> Settings:
    """The settings. `overrides` are flags; None among them = not given. One InvalidRequest tells all that is wrong."""
    said = _collect(overrides, config_file)
    try:
        return Settings(**{name: entry.value for name, entry in said.items()})
    except ValidationError as error:
        raise _refusal(error, said) from None


def origins(
    overrides: Mapping[str, Any] = MappingProxyType({}), *, config_file: Path | None = None
) -> Mapping[str, Origin]:
    """For every setting, where its value comes from."""
    said = _collect(overrides, config_file)
    moved = derived({name: entry.value for name, entry in said.items()})
    defaults = {name: Origin("default", moved[name][1] if name in moved else "") for name in FIELDS}
    return defaults | {name: entry.origin for name, entry in said.items()}


def find_config_file(overrides: Mapping[str, Any] = MappingProxyType({}), config_file: Path | None = None) -> Path:
    """The config file, there or not: the argument, else LANHAVEN_CONFIG, else config.yaml in the config folder."""
    explicit = _explicit_file(config_file)
    folder = overrides.get("config_dir") or environment().get(PREFIX + "CONFIG_DIR") or places.config_dir()
    return explicit or Path(folder).expanduser() / "config.yaml"


def _explicit_file(config_file: Path | None) -> Path | None:
    named = environment().get(PREFIX + "CONFIG", "").strip()
    return config_file or (Path(named).expanduser() if named else None)


def _collect(overrides: Mapping[str, Any], config_file: Path | None) -> dict[str, _Said]:
    flags = {name: _Said(value, Origin("flag", name)) for name, value in overrides.items() if value is not None}
    for name in flags:
        if name not in Settings.model_fields:
            raise _unknown(name, Origin("flag", name))
    return {
        **_from_file(find_config_file(overrides, config_file), required=_explicit_file(config_file) is not None),
        **_from_dotenv(Path(".env")),
        **_from_variables({name: (text, None) for name, text in environment().items()}, "env", ""),
        **flags,
    }


def _from_variables(
    variables: Mapping[str, tuple[str, int | None]], kind: Literal["env", ".env"], file: str
) -> dict[str, _Said]:
    """What one set of variables says. An empty variable says nothing, except for lists, where it is the empty list."""
    said: dict[str, _Said] = {}
    for field in FIELDS:
        for alias in (Alias(PREFIX + field.upper()), *ALIASES.get(field, ())):
            text, line = variables.get(alias.name, ("", None))
            if text.strip() or (alias.name in variables and field in LIST_FIELDS):
                where = f"{alias.name} in {file}" if file else alias.name
                said[field] = _Said(alias.convert(text), Origin(kind, where, line))
                break
    for name, (_, line) in variables.items():
        _refuse_misspelt(name, Origin(kind, f"{name} in {file}" if file else name, line))
    return said


def _refuse_misspelt(name: str, origin: Origin) -> None:
    """A misspelt LANHAVEN_IP_ALOWLIST must not pass for "not said". Names far from any setting are somebody else's."""
    setting = name.removeprefix(PREFIX).lower()
    others = {"url", "config"}
    if name.startswith(PREFIX) and setting not in others and setting not in FIELDS and _close(setting, FIELDS, 0.85):
        raise _unknown(setting, origin)


def _from_dotenv(path: Path) -> dict[str, _Said]:
    if not path.is_file():
        return {}
    from dotenv.parser import parse_stream  # loaded only where there is a .env

    from lanhaven.config.yaml_text import read_text

    bindings = list(parse_stream(StringIO(read_text(path))))
    broken = next((binding for binding in bindings if binding.error), None)
    if broken is not None:
        raise InvalidRequest(
            f".env:{broken.original.line}: is not NAME=value", hint="correct the line, or comment it out with #"
        )
    variables = {binding.key: (binding.value or "", binding.original.line) for binding in bindings if binding.key}
    return _from_variables(variables, ".env", str(path))


def _from_file(path: Path, *, required: bool) -> dict[str, _Said]:
    if not required and not path.exists():
        return {}
    from lanhaven.config.config_file import read  # the YAML reader costs 0.1 s

    try:
        return _known(read(path), path)
    except FileNotFoundError:
        raise InvalidRequest(
            f"the config file {path} does not exist", param="config", hint="correct --config or LANHAVEN_CONFIG"
        ) from None


def check_file(text: str, path: Path) -> None:
    """InvalidRequest where this text would make a wrong config.yaml at `path`, whatever the environment says."""
    from lanhaven.config.config_file import understood

    said = _known(understood(text, path), path)
    try:
        Settings(**{name: entry.value for name, entry in said.items()})
    except ValidationError as error:
        raise _refusal(error, said) from None


def _known(entries: Mapping[str, tuple[Any, int]], path: Path) -> dict[str, _Said]:
    said = {}
    for name, (value, line) in entries.items():
        origin = Origin("file", str(path), line)
        if name not in Settings.model_fields:
            raise _unknown(name, origin)
        said[name] = _Said(value, origin)
    return said


def _unknown(name: str, origin: Origin) -> InvalidRequest:
    close = _close(name.replace("-", "_").lower(), FIELDS, 0.6)
    hint = f"did you mean {close}?" if close else "docs/configuration.md lists the settings"
    return InvalidRequest(f"{origin}: there is no setting {name!r}", param=name, hint=hint)


def _close(name: str, names: Iterable[str], cutoff: float) -> str | None:
    return next(iter(difflib.get_close_matches(name, list(names), 1, cutoff)), None)


def _refusal(error: ValidationError, said: Mapping[str, _Said]) -> InvalidRequest:
    problems: dict[str, str] = {}
    for detail in error.errors(include_url=False):
        field = str(detail["loc"][0]) if detail["loc"] else "also_listen"
        origin = said[field].origin if field in said else Origin("default")
        problems.setdefault(field, f"{field} ({origin}): {_sentence(field, detail)}")
    first = next(iter(problems))
    default = Settings.model_fields[first].get_default(call_default_factory=True)
    remedy = f"correct {said[first].origin if first in said else first}, or remove it for the default ({default!r})"
    return InvalidRequest("; ".join(problems.values()), param=first, hint=remedy, facts={"settings": sorted(problems)})


def _sentence(field: str, detail: ErrorDetails) -> str:
    text = detail["msg"].removeprefix("Value error, ")
    value = detail["input"]
    if field in SECRET_FIELDS or detail["type"] == "value_error" or isinstance(value, Mapping):
        return text
    return f"{text[0].lower()}{text[1:]}, not {value!r}"
