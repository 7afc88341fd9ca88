"""Reading which hosts there are: `hosts:` of a provider's block in config.yaml."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from lanhaven.config.addresses import base_url
from lanhaven.errors import InvalidRequest
from lanhaven.providers.settings import Reader, read_all, shaped

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_VISIBLE = re.compile(r"[!-~]+")


def read_named(said: Any, readers: Mapping[str, Reader], known: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """The settings of each host by its name, in their order. `pc: http://pc.lan` says its base_url alone.

    known: hosts whose base_url is said elsewhere. InvalidRequest names what is wrong ("hosts.pc.api_key").
    """
    if not isinstance(said, Mapping):
        raise InvalidRequest("config.hosts must be a mapping of names to addresses.", param="hosts")
    found = {_name(name): _settings(str(name), each, readers) for name, each in said.items()}
    for name, each in found.items():
        if "base_url" not in each and name not in known:
            raise InvalidRequest(f"Host {name} needs a base_url.", param=f"hosts.{name}.base_url")
    return found


def _name(name: Any) -> str:
    if not _NAME.fullmatch(str(name)):
        raise InvalidRequest(f"{name!r} is no name for a host: use letters, digits, -, _ and dots.", param="hosts")
    return str(name)


def _settings(name: str, said: Any, readers: Mapping[str, Reader]) -> dict[str, Any]:
    settings = {"base_url": said} if isinstance(said, str) else {} if said is None else said
    if not isinstance(settings, Mapping):
        raise InvalidRequest(f"hosts.{name} must be an address, or a mapping with a base_url.", param=f"hosts.{name}")
    try:
        return read_all(settings, readers, f"host {name}")
    except InvalidRequest as error:
        raise InvalidRequest(f"hosts.{name}: {error.message}", param=f"hosts.{name}.{error.param}") from None


@shaped(type="string", pattern="^https?://[!-~]+$")
def address(key: str, value: Any) -> str:
    """Of a server: http or https, without /v1 at its end."""
    if not isinstance(value, str) or not _VISIBLE.fullmatch(value):
        raise InvalidRequest(f"config.{key} must be an address such as http://pc.lan:8000.", param=key)
    if "@" in value:  # before anything repeats it: a password may be in it
        raise InvalidRequest(f"config.{key} must not hold a user name or password: keys have a setting.", param=key)
    try:
        url = base_url(value)
    except ValueError as error:
        raise InvalidRequest(f"config.{key}: {error}.", param=key) from None
    if urlsplit(url).port == 0:
        raise InvalidRequest(f"config.{key} has port 0, which no server has.", param=key)
    return url


@shaped(type="string", pattern="^[!-~]+$")
def secret(key: str, value: Any) -> str:
    """A key for a header. It is in no error."""
    if not isinstance(value, str) or not _VISIBLE.fullmatch(value):
        raise InvalidRequest(f"config.{key} holds what no header can carry.", param=key)
    return value
