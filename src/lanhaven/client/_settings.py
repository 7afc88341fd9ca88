"""What a client is made with: arguments, then LANHAVEN_* variables, then LM Studio's, then defaults. Pure."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from lanhaven.client._shape import nothing
from lanhaven.errors import InvalidRequest

DEFAULT_URL = "http://127.0.0.1:8002"


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """Seconds as float. docs/sdk-python.md says what each does."""

    base_url: str = DEFAULT_URL
    api_key: str | None = field(default=None, repr=False)
    timeout: float = 30.0
    connect_timeout: float = 10.0
    load_timeout: float = 600.0
    stream_idle_timeout: float = 300.0
    max_retries: int = 2
    stream_retry: float = 0.25
    verify_tls: bool = True
    ca_file: str | None = None
    default_model: str | None = None
    default_embedding_model: str | None = None
    extra_headers: Mapping[str, str] = field(default_factory=nothing, repr=False)  # may hold keys
    enable_streaming: bool = True
    enable_audio: bool = True
    enable_images: bool = True
    allowed_hosts: tuple[str, ...] = ()

    @property
    def loopback(self) -> bool:
        return is_loopback(self.base_url)


def settings(arguments: Mapping[str, Any], environment: Mapping[str, str]) -> ClientSettings:
    """The settings; None among the arguments = not given. InvalidRequest names the argument or variable at fault."""
    said: dict[str, Any] = {}
    for each in fields(ClientSettings):
        value, origin = _said(each.name, arguments, environment)
        if value is not None:
            said[each.name] = _value(each.name, value, origin)
    if "base_url" not in said and (address := _parts(environment)) is not None:
        said["base_url"] = _url(address)
    found = ClientSettings(**said)
    _check(found, environment)
    return found


def is_loopback(url: str) -> bool:
    """Whether the address is this machine."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _said(name: str, arguments: Mapping[str, Any], environment: Mapping[str, str]) -> tuple[Any, str]:
    """The value and who said it; None if nobody did."""
    if arguments.get(name) is not None:
        return arguments[name], name
    for variable in VARIABLES.get(name, ()):
        if text := environment.get(variable, "").strip():
            return text, variable
    return None, name


def _parts(environment: Mapping[str, str]) -> str | None:
    """An address from LM_STUDIO_HOST, LM_STUDIO_PORT and LM_STUDIO_SCHEME (S3-x5)."""
    host, port, scheme = (environment.get(f"LM_STUDIO_{name}", "").strip() for name in ("HOST", "PORT", "SCHEME"))
    if not (host or port):
        return None
    return f"{scheme or 'http'}://{host or '127.0.0.1'}:{port or 1234}"


def _value(name: str, value: Any, origin: str) -> Any:
    try:
        return READERS[name](value)
    except (ValueError, TypeError) as error:
        raise InvalidRequest(f"{origin}: {error}", param=name, hint=f"correct {origin}", retry=False) from None


def _check(found: ClientSettings, environment: Mapping[str, str]) -> None:
    host = urlsplit(found.base_url).hostname or ""
    if found.allowed_hosts and host not in found.allowed_hosts:
        raise InvalidRequest(f"{host} is not among allowed_hosts.", param="base_url", retry=False)
    kind = next(
        (text for name in ("LANHAVEN_ENV", "GATEWAY_ENV", "APP_ENV") if (text := environment.get(name))), "local"
    )
    if found.api_key is None and not found.loopback and kind.lower() != "local":
        raise InvalidRequest(
            f"An API key is required for {found.base_url}: APP_ENV is {kind}, not local.",
            param="api_key",
            hint="give api_key, or set LANHAVEN_API_KEY",
            retry=False,
        )


def _url(value: Any) -> str:
    """Without a path's end: `/v1`, which OpenAI's clients want in their base URL, is cut off."""
    text = _text(value)
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text!r} is no address like {DEFAULT_URL}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("an address has no user, query or fragment")
    _ = parts.port  # ValueError if it is none
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/v1')}"


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("is not a text")
    return value.strip()


def _path(value: Any) -> str:
    return _text(os.fspath(value))


def _header(value: Any) -> str:
    text = _text(value)
    if not (text.isascii() and text.isprintable()):
        raise ValueError("has signs that no header can carry")
    return text


def _seconds(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError("is not a number of seconds")
    number = float(value)
    if not 0 < number < 1e7:
        raise ValueError("must be a number of seconds, more than 0")
    return number


def _milliseconds_as_text(value: Any) -> float:
    """LM_STUDIO_STREAM_RETRY_MS is in milliseconds, the argument in seconds."""
    return _seconds(value) / 1000 if isinstance(value, str) else _seconds(value)


def _count(value: Any) -> int:
    number = int(value)
    if isinstance(value, bool) or not 0 <= number <= 100 or number != float(value):
        raise ValueError("must be a whole number from 0 to 100")
    return number


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word not in _WORDS:
        raise ValueError(f"{value!r} is neither true nor false")
    return _WORDS[word]


def _headers(value: Any) -> Mapping[str, str]:
    if isinstance(value, str):
        value = json.loads(value)  # JSONDecodeError is a ValueError
    if not isinstance(value, Mapping):
        raise TypeError('is no object like {"X-Team": "a"}')
    return MappingProxyType({_header(name): _header(text) for name, text in value.items()})


def _names(value: Any) -> tuple[str, ...]:
    listed = value.split(",") if isinstance(value, str) else value
    return tuple(_text(each) for each in listed)


_WORDS: Mapping[str, bool] = MappingProxyType(
    {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
)

READERS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "base_url": _url,
        "api_key": _header,
        "timeout": _seconds,
        "connect_timeout": _seconds,
        "load_timeout": _seconds,
        "stream_idle_timeout": _seconds,
        "max_retries": _count,
        "stream_retry": _milliseconds_as_text,
        "verify_tls": _switch,
        "ca_file": _path,
        "default_model": _text,
        "default_embedding_model": _text,
        "extra_headers": _headers,
        "enable_streaming": _switch,
        "enable_audio": _switch,
        "enable_images": _switch,
        "allowed_hosts": _names,
    }
)

# Setting -> variables, the first that is said wins. docs/configuration.md lists them.
VARIABLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "base_url": ("LANHAVEN_URL", "LM_STUDIO_BASE_URL"),
        "api_key": ("LANHAVEN_API_KEY", "LM_STUDIO_API_KEY"),
        "timeout": ("LANHAVEN_TIMEOUT", "LM_STUDIO_TIMEOUT"),
        "connect_timeout": ("LANHAVEN_CONNECT_TIMEOUT", "LM_STUDIO_CONNECT_TIMEOUT"),
        "max_retries": ("LANHAVEN_MAX_RETRIES", "LM_STUDIO_MAX_RETRIES"),
        "verify_tls": ("LANHAVEN_VERIFY_TLS", "LM_STUDIO_VERIFY_TLS"),
        "ca_file": ("LANHAVEN_CA",),
        "default_model": ("LANHAVEN_DEFAULT_MODEL", "LM_STUDIO_DEFAULT_MODEL"),
        "default_embedding_model": ("LANHAVEN_DEFAULT_EMBEDDING_MODEL", "LM_STUDIO_DEFAULT_EMBEDDING_MODEL"),
        "extra_headers": ("LANHAVEN_EXTRA_HEADERS", "LM_STUDIO_EXTRA_HEADERS"),
        "stream_retry": ("LM_STUDIO_STREAM_RETRY_MS",),
        "enable_streaming": ("LANHAVEN_ENABLE_STREAMING", "LM_STUDIO_ENABLE_STREAMING"),
        "enable_audio": ("LM_STUDIO_ENABLE_AUDIO",),
        "enable_images": ("LM_STUDIO_ENABLE_IMAGES",),
        "allowed_hosts": ("LM_STUDIO_ALLOWED_HOSTS",),
    }
)
