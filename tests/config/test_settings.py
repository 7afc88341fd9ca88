from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from pydantic import ValidationError

from lanhaven.config import Settings, load_settings, places
from lanhaven.config.settings import MASK
from lanhaven.errors import InvalidRequest

GIB = 2**30


def test_secure_defaults() -> None:
    settings = Settings()
    assert (settings.host, settings.port, settings.lan, settings.open_to_all) == ("127.0.0.1", 8002, False, False)
    assert (settings.cors_origins, settings.trusted_proxies, settings.allowed_hosts) == ((), (), ())
    assert (settings.max_body_bytes, settings.header_timeout, settings.write_stall) == (32 * 2**20, 10.0, 60.0)


def test_settings_are_frozen_and_closed() -> None:
    settings = Settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1  # type: ignore[misc]
    with pytest.raises(ValidationError, match="prot"):
        Settings(prot=1)  # type: ignore[call-arg]


def test_building_settings_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANHAVEN_PORT", "1")
    assert Settings().port == 8002


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port", -1),
        ("port", 65536),
        ("port", "8002.5"),
        ("api", "anthropic"),
        ("also_listen", ("127.0.0.1",)),
        ("ip_allowlist", ("10.0.0.1/8",)),
        ("ip_allowlist", ("10.0.0.0/8", "")),
        ("ip_allowlist", "10.0.0.0/8,,10.0.0.1"),
        ("trusted_proxies", ("*",)),
        ("allowed_hosts", ("*",)),
        ("cors_origins", ("null",)),
        ("api_key", ""),
        ("env", "staging"),
        ("log_level", "loud"),
        ("max_loaded_models", 0),
        ("memory_budget", 0),
        ("queue_depth", 0),
        ("load_timeout", 0),
        ("header_timeout", 0),
        ("write_stall", "0s"),
        ("idle_ttl", -1),
        ("max_body_bytes", "32M"),
        ("lmstudio_base_url", "127.0.0.1:1234"),
        ("models_file", ""),
        ("data_dir", "a\0b"),
        ("data_dir", "~nobody-of-this-name/x"),
        ("run_dir", "/" + "x" * 70),
        ("providers", {"a": 1}),
        ("port", None),
        ("idle_ttl", None),
    ],
)
def test_values_out_of_range_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as refusal:
        Settings(**{field: value})  # type: ignore[arg-type]
    assert {error["loc"][0] for error in refusal.value.errors()} == {field}


@pytest.mark.parametrize("field", ["idle_ttl", "proxy_timeout", "proxy_stream_timeout", "queue_wait", "drain_timeout"])
def test_some_durations_may_be_zero(field: str) -> None:
    assert Settings(**{field: 0}).model_dump()[field] == 0.0  # type: ignore[arg-type]


def test_listeners_come_main_one_first() -> None:
    settings = Settings(port=8002, also_listen=("127.0.0.1:11434", "[::1]:8002"))
    assert settings.listeners() == (("127.0.0.1", 8002), ("127.0.0.1", 11434), ("::1", 8002))


def test_an_address_named_twice_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="names an address twice"):
        load_settings({"also_listen": "127.0.0.1:8002"})


@pytest.mark.parametrize(("said", "in_file", "limit"), [({}, None, 2), ({}, 5, 5), ({"max_loaded_models": 3}, 5, 3)])
def test_the_limit_said_here_wins_over_the_models_file(said: dict[str, int], in_file: int | None, limit: int) -> None:
    assert Settings(**said).loaded_limit(in_file) == limit  # type: ignore[arg-type]


@pytest.mark.req("F-186")
def test_the_public_view_masks_secrets_only() -> None:
    options = {
        "openai": {"api_key": "canary", "base_url": "http://a", "max_tokens": 3, "headers": [{"auth_token": "canary"}]}
    }
    files = {"tls_cert": "/tls/cert.pem", "tls_key": "/tls/key.pem"}
    public = Settings(api_key="canary-canary", providers=options, **files).public()  # type: ignore[arg-type]
    assert "canary" not in str(public)
    assert public["providers"]["openai"]["base_url"] == "http://a"
    assert public["providers"]["openai"]["max_tokens"] == 3
    assert public["providers"]["openai"]["api_key"] == MASK
    assert public["trusted_proxies"] == []
    assert public["tls_key"] == "/tls/key.pem"
    assert list(public) == list(Settings.model_fields)


def test_a_refusal_does_not_show_the_key() -> None:
    with pytest.raises(ValidationError) as refusal:
        Settings(api_key="canary key", port=-1)  # type: ignore[arg-type]
    assert "canary" not in str(refusal.value)


def test_the_run_folder_is_the_runtime_folder_where_there_is_one(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="r") as short:
        assert places.run_dir({"XDG_RUNTIME_DIR": short}) == Path(short, "lanhaven")
    absent = places.run_dir({"XDG_RUNTIME_DIR": str(tmp_path / "absent")})
    assert absent.name == f"lanhaven-{os.getuid()}"


def test_the_run_folder_is_short_even_if_the_temporary_folder_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("t" * 80)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    for given in ({}, {"XDG_RUNTIME_DIR": str(long)}):
        assert len(os.fsencode(places.run_dir(given))) <= places.LONGEST_RUN_DIR


@pytest.mark.req("F-174")
def test_a_home_that_is_nowhere_is_told_in_words() -> None:
    with pytest.raises(InvalidRequest, match="set HOME") as refusal:
        load_settings({"data_dir": "~nobody-of-this-name/data"})
    assert "data_dir (flag --data-dir)" in refusal.value.message


@pytest.mark.parametrize("name", ["", "a.b", "-x", "x-", "ä", "x" * 63, "two words"])
def test_a_name_on_the_network_is_one_label(name: str) -> None:
    with pytest.raises(ValidationError, match="is not a name of letters, digits and dashes"):
        Settings(mdns_name=name)


def test_a_name_on_the_network_may_come_with_its_end() -> None:
    assert Settings(mdns_name="Models-2.local").mdns_name == "models-2"


def test_a_certificate_comes_with_its_key() -> None:
    with pytest.raises(ValidationError, match="tls_cert and tls_key go together"):
        Settings(tls_cert="/tmp/a.crt")
    assert Settings(tls_cert="/tmp/a.crt", tls_key="/tmp/a.key").https
    assert not Settings().https
