"""What a client is made with, and who says it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from lanhaven import AsyncClient, Client
from lanhaven.client._settings import VARIABLES, ClientSettings, settings
from lanhaven.errors import InvalidRequest


def made(environment: Mapping[str, str] | None = None, **arguments: Any) -> ClientSettings:
    return settings(arguments, environment or {})


@pytest.mark.req("S3-12", "S3-13", "S3-14", "S3-15", "C3", "C4")
def test_defaults() -> None:
    found = made()
    assert found == ClientSettings()
    assert (found.timeout, found.connect_timeout, found.max_retries, found.verify_tls) == (30, 10, 2, True)
    assert found.load_timeout >= 60
    assert found.base_url == "http://127.0.0.1:8002"
    assert found.api_key is found.default_model is None


@pytest.mark.req("S3-10", "S3-11", "S3-12", "S3-13", "S3-14", "S3-15", "S3-16", "S3-38", "S3-x5")
def test_lm_studios_variables_are_read() -> None:
    environment = {
        "LM_STUDIO_BASE_URL": "http://127.0.0.1:1234",
        "LM_STUDIO_API_KEY": "k",
        "LM_STUDIO_TIMEOUT": "60",
        "LM_STUDIO_CONNECT_TIMEOUT": "15",
        "LM_STUDIO_MAX_RETRIES": "5",
        "LM_STUDIO_VERIFY_TLS": "false",
        "LM_STUDIO_DEFAULT_MODEL": "mistral-7b-instruct",
        "LM_STUDIO_DEFAULT_EMBEDDING_MODEL": "e",
        "LM_STUDIO_EXTRA_HEADERS": '{"X-Team": "a"}',
        "LM_STUDIO_ENABLE_STREAMING": "no",
        "LM_STUDIO_ENABLE_AUDIO": "0",
        "LM_STUDIO_ENABLE_IMAGES": "off",
        "LM_STUDIO_STREAM_RETRY_MS": "250",
        "LM_STUDIO_ALLOWED_HOSTS": "127.0.0.1, localhost",
    }
    assert made(environment) == ClientSettings(
        base_url="http://127.0.0.1:1234",
        api_key="k",
        timeout=60,
        connect_timeout=15,
        max_retries=5,
        verify_tls=False,
        default_model="mistral-7b-instruct",
        default_embedding_model="e",
        extra_headers={"X-Team": "a"},
        enable_streaming=False,
        enable_audio=False,
        enable_images=False,
        stream_retry=0.25,
        allowed_hosts=("127.0.0.1", "localhost"),
    )


def test_arguments_win_over_lanhavens_variables_and_those_over_lm_studios() -> None:
    for name, variables in VARIABLES.items():
        if len(variables) == 2:
            ours, theirs = variables
            assert (ours.partition("_")[0], theirs.partition("_")[0]) == ("LANHAVEN", "LM"), name
    environment = {"LANHAVEN_TIMEOUT": "7", "LM_STUDIO_TIMEOUT": "8", "LANHAVEN_URL": "http://a", "LM_STUDIO_HOST": "b"}
    assert made(environment).timeout == 7
    assert made(environment, timeout=6).timeout == 6
    assert made(environment).base_url == "http://a"
    assert made({"LANHAVEN_TIMEOUT": " ", "LM_STUDIO_TIMEOUT": "8"}).timeout == 8


@pytest.mark.req("S3-x5", "S3-10")
def test_an_address_may_be_said_in_parts() -> None:
    assert made({"LM_STUDIO_HOST": "10.0.0.7"}).base_url == "http://10.0.0.7:1234"
    assert made({"LM_STUDIO_PORT": "99"}).base_url == "http://127.0.0.1:99"
    parts = {"LM_STUDIO_HOST": "studio", "LM_STUDIO_PORT": "443", "LM_STUDIO_SCHEME": "https"}
    assert made(parts).base_url == "https://studio:443"


@pytest.mark.parametrize("given", ["http://h:1/v1", "http://h:1/v1/", "http://h:1/", " http://h:1 "])
def test_the_ends_that_people_write_are_cut_off(given: str) -> None:
    assert made(base_url=given).base_url == "http://h:1"


def test_a_path_in_front_stays() -> None:
    assert made(base_url="https://h/models/v1").base_url == "https://h/models"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("base_url", "h:1"),
        ("base_url", "ftp://h"),
        ("base_url", "http://u:p@h"),
        ("base_url", "http://h/?a=1"),
        ("base_url", "http://h:port"),
        ("base_url", ""),
        ("api_key", "two\nlines"),
        ("api_key", "schlüssel"),
        ("timeout", 0),
        ("timeout", "soon"),
        ("timeout", True),
        ("connect_timeout", float("nan")),
        ("max_retries", -1),
        ("max_retries", 1.5),
        ("max_retries", True),
        ("verify_tls", "perhaps"),
        ("default_model", 7),
        ("extra_headers", "[]"),
        ("extra_headers", "{"),
        ("extra_headers", {"X-A": "two\r\nlines"}),
        ("allowed_hosts", (7,)),
    ],
)
def test_what_cannot_be_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        made(**{name: value})
    assert caught.value.param == name
    assert "two" not in caught.value.message


def test_a_wrong_variable_is_named() -> None:
    with pytest.raises(InvalidRequest, match="LM_STUDIO_TIMEOUT") as caught:
        made({"LM_STUDIO_TIMEOUT": "soon"})
    assert caught.value.hint == "correct LM_STUDIO_TIMEOUT"


@pytest.mark.req("S3-17", "S3-18", "S3-37", "S3-41")
def test_a_key_is_required_off_this_machine_outside_of_local() -> None:
    remote = "http://10.0.0.7:8002"
    for kind in ("production", "staging"):
        with pytest.raises(InvalidRequest, match="API key is required"):
            made({"APP_ENV": kind}, base_url=remote)
        assert made({"APP_ENV": kind}, base_url=remote, api_key="k").api_key == "k"
        for own in ("http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"):
            assert made({"APP_ENV": kind}, base_url=own).loopback
    assert made({"APP_ENV": "local"}, base_url=remote).api_key is None
    assert made({}, base_url=remote).api_key is None


@pytest.mark.req("S3-x5")
def test_only_allowed_hosts_are_talked_to() -> None:
    with pytest.raises(InvalidRequest, match="allowed_hosts"):
        made(base_url="http://evil", allowed_hosts=("good",))
    assert made(base_url="http://good", allowed_hosts=("good",)).allowed_hosts == ("good",)


def test_no_key_is_shown() -> None:
    found = made(api_key="secret-1", extra_headers={"X-Key": "secret-2"})
    assert "secret" not in repr(found)
    with Client(api_key="secret-1") as client:
        assert repr(client) == "Client(http://127.0.0.1:8002 with key)"
    assert "secret" not in repr(AsyncClient(api_key="secret-1"))


def test_the_environment_is_read_when_a_client_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANHAVEN_URL", "http://127.0.0.1:9")
    with Client() as client:
        assert client.settings.base_url == "http://127.0.0.1:9"


@pytest.mark.req("S3-01")
def test_the_sdk_imports_no_server() -> None:
    program = (
        "import sys, lanhaven\n"
        "assert 'lanhaven.client' not in sys.modules and 'httpx2' not in sys.modules\n"
        "lanhaven.Client, dir(lanhaven)\n"
        "print(*sorted(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    ours = {name for name in loaded if name.startswith("lanhaven.")}
    rooms = {"client", "config", "errors", "types", "wire"}
    assert {name.split(".")[1] for name in ours} == rooms
    assert {name for name in ours if name.startswith("lanhaven.config")} == {
        "lanhaven.config",
        "lanhaven.config.environ",
    }
    assert not {name.partition(".")[0] for name in loaded} & {"fastapi", "pydantic", "starlette", "typer", "uvicorn"}
