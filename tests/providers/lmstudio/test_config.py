"""Which LM Studios are configured, and what is wrong with a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lanhaven.config import load_settings
from lanhaven.errors import InvalidRequest
from lanhaven.providers.base import ProviderContext
from lanhaven.providers.lmstudio.config import read_entry, read_hosts
from lanhaven.providers.registry import create
from lanhaven.server.build import context
from lanhaven.types.models import ModelKind

TOKEN = "sk-lm-abcdefgh:01234567890123456789"


def options(tmp_path: Path, **said: Any) -> dict[str, Any]:
    """What the provider gets of these settings."""
    made = context(load_settings({"config_dir": tmp_path, **said}), "lmstudio", tmp_path)
    return dict(made.options)


@pytest.mark.req("S1-12", "S1-33", "S0-80")
def test_the_variable_names_the_one_lm_studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMSTUDIO_BASE_URL", "http://127.0.0.1:9999/")
    hosts = read_hosts(options(tmp_path, providers={"lmstudio": {"api_token": TOKEN}}))
    (host,) = hosts.known.values()
    assert (host.name, host.base_url, host.ws_url) == ("lmstudio", "http://127.0.0.1:9999", "ws://127.0.0.1:9999")
    assert host.headers == (("authorization", f"Bearer {TOKEN}"),)
    assert TOKEN not in repr(hosts)


def test_without_it_there_is_none_until_a_model_names_it(tmp_path: Path) -> None:
    hosts = read_hosts(options(tmp_path))
    assert not hosts.known
    assert hosts.named(None).base_url == hosts.named("lmstudio").base_url == "http://127.0.0.1:1234"


@pytest.mark.parametrize("url", ["http://localhost:8002", "http://127.0.0.1:8002/v1", "http://[::1]:9100"])
def test_ourselves_are_no_lm_studio(tmp_path: Path, url: str) -> None:
    said = options(tmp_path, lmstudio_base_url=url, also_listen="[::1]:9100")
    assert not read_hosts(said).known
    assert read_hosts(said).named(None).base_url == "http://127.0.0.1:1234"


@pytest.mark.parametrize("url", ["http://localhost:1234", "http://pc.lan:8002"])
def test_others_are_not_ourselves(tmp_path: Path, url: str) -> None:
    assert [each.base_url for each in read_hosts(options(tmp_path, lmstudio_base_url=url)).known.values()] == [url]


def test_several_hosts_besides_the_one_of_the_variable(tmp_path: Path) -> None:
    block = {"attempts": 2, "retry_delay": 0.5, "hosts": {"mac": {"base_url": "https://mac.lan", "api_token": TOKEN}}}
    hosts = read_hosts(options(tmp_path, lmstudio_base_url="http://127.0.0.1:1234", providers={"lmstudio": block}))
    assert list(hosts.known) == ["lmstudio", "mac"]
    assert hosts.named(None).name == "lmstudio"
    mac = hosts.named("mac")
    assert (mac.ws_url, mac.api_token, mac.attempts, mac.retry_delay) == ("wss://mac.lan", TOKEN, 2, 0.5)
    with pytest.raises(InvalidRequest, match="There is no LM Studio host 'attic'; there are: lmstudio, mac"):
        hosts.named("attic")


def test_models_that_lie_on_this_machine() -> None:
    hosts = {"here": {"base_url": "http://localhost:1"}, "there": {"base_url": "http://pc:1"}}
    known = read_hosts({"hosts": hosts}).known
    assert known["here"].models_dir == Path("~/.lmstudio/models").expanduser()
    assert known["there"].models_dir is None
    assert read_hosts({"base_url": "http://pc:1", "models_dir": "/m"}).named(None).models_dir == Path("/m")


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"base_url": "pc:1234"}, "base_url"),
        ({"base_url": "http://u:p@pc"}, "base_url"),
        ({"base_url": 5}, "base_url"),
        ({"base_url": "http://pc", "api_token": "sk-lm-short"}, "api_token"),
        ({"base_url": "http://pc", "api_token": "a\nb"}, "api_token"),
        ({"base_url": "http://pc", "api_token": 5}, "api_token"),
        ({"base_url": "http://pc", "models_dir": 5}, "models_dir"),
        ({"attempts": 0}, "attempts"),
        ({"attempts": True}, "attempts"),
        ({"retry_delay": -1}, "retry_delay"),
        ({"retry_delay": "soon"}, "retry_delay"),
        ({"timeout": 5}, "timeout"),
        ({"hosts": []}, "hosts"),
        ({"hosts": {"a/b": {"base_url": "http://pc"}}}, "hosts"),
        ({"hosts": {"pc": 5}}, "hosts.pc"),
        ({"hosts": {"pc": {}}}, "hosts.pc.base_url"),
        ({"hosts": {"pc": {"base_url": "http://pc", "key": "x"}}}, "hosts.pc.key"),
    ],
)
def test_what_is_wrong_is_named(said: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_hosts(said)
    assert caught.value.param == param
    assert "sk-lm-short" not in caught.value.message


def test_a_wrong_configuration_is_a_provider_that_says_why(tmp_path: Path) -> None:
    made = create("lmstudio", ProviderContext("lmstudio", tmp_path, {"base_url": "nonsense"}))
    assert "nonsense" in repr(made)


@pytest.mark.parametrize(
    "said", [{"hosts": "x"}, {"kind": "chat"}, {"layers": "many"}, {"model": 5}, {"context_length": 5}]
)
def test_a_wrong_model_entry_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        read_entry(said)


def test_a_model_entry() -> None:
    entry = read_entry({"host": "mac", "model": "m", "kind": "embedding", "layers": 12})
    assert (entry.host, entry.model, entry.kind, entry.layers) == ("mac", "m", ModelKind.EMBEDDING, 12)
