from __future__ import annotations

import subprocess
import sys

import pytest

from lanhaven.config import client_environment, engine_environment
from lanhaven.config.environ import environment


def test_the_own_names_of_the_client_win(monkeypatch: pytest.MonkeyPatch) -> None:
    assert client_environment() == (None, None, None)
    monkeypatch.setenv("LM_STUDIO_BASE_URL", "http://127.0.0.1:1234")
    monkeypatch.setenv("LM_STUDIO_API_KEY", "other")
    assert client_environment()[:2] == ("http://127.0.0.1:1234", "other")
    monkeypatch.setenv("LANHAVEN_URL", " http://127.0.0.1:8002 ")
    monkeypatch.setenv("LANHAVEN_API_KEY", "")
    assert client_environment()[:2] == ("http://127.0.0.1:8002", "other")


def test_the_key_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANHAVEN_API_KEY", "canary-key")
    assert "canary-key" not in repr(client_environment())
    assert client_environment().key == "canary-key"


def test_the_client_side_loads_no_pydantic() -> None:
    program = (
        "import sys; from lanhaven.config import client_environment; client_environment();"
        "print(*[each for each in ('pydantic', 'ruamel', 'dotenv') if each in sys.modules])"
    )
    paths = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=paths)
    assert done.stdout.strip() == ""


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    import lanhaven.config as config

    assert config.Settings.__name__ == "Settings"
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = config.nothing_of_this_name  # type: ignore[attr-defined]


@pytest.mark.req("F-048", "F-186")
def test_engines_get_no_secrets_and_no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = (
        *("GATEWAY_API_KEY", "LANHAVEN_API_KEY", "OPENAI_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "CUDA_TOKEN"),
        *("HTTP_PROXY", "https_proxy", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "LANHAVEN_PORT", "SSH_AUTH_SOCK"),
    )
    for name in secrets:
        monkeypatch.setenv(name, "canary")
    assert "canary" not in engine_environment({}).values()


def test_engines_keep_what_they_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = (
        "PATH",
        "HOME",
        "LANG",
        "LC_ALL",
        "TMPDIR",
        "LD_LIBRARY_PATH",
        "CUDA_VISIBLE_DEVICES",
        "HF_HOME",
        "SYSTEMROOT",
    )
    for name in kept:
        monkeypatch.setenv(name, f"/of/{name}")
    given = engine_environment({})
    assert {name: given.get(name) for name in kept} == {name: f"/of/{name}" for name in kept}


def test_engines_spin_briefly_stay_offline_and_choose_their_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    given = engine_environment({})
    assert (given["GOMP_SPINCOUNT"], given["HF_HUB_OFFLINE"]) == ("1000", "1")
    assert "OMP_NUM_THREADS" not in given
    monkeypatch.setenv("GOMP_SPINCOUNT", "77")
    assert engine_environment({})["GOMP_SPINCOUNT"] == "77"


def test_what_the_caller_adds_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    given = engine_environment({"HOME": "/elsewhere", "MY_API_KEY": "meant"})
    assert (given["HOME"], given["MY_API_KEY"]) == ("/elsewhere", "meant")


def test_the_environment_is_a_copy() -> None:
    copy = environment()
    assert isinstance(copy, dict)
    copy["LANHAVEN_TEST_COPY"] = "1"
    assert "LANHAVEN_TEST_COPY" not in environment()
