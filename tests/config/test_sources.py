from __future__ import annotations

from pathlib import Path

import pytest

from lanhaven.config import Settings, find_config_file, load_settings, origins
from lanhaven.errors import InvalidRequest


@pytest.fixture
def config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "etc" / "config.yaml"
    path.parent.mkdir()
    monkeypatch.setenv("LANHAVEN_CONFIG", str(path))
    path.write_text("")
    return path


def refusal(**overrides: object) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        load_settings(overrides)
    return caught.value


def test_nothing_said_gives_the_defaults() -> None:
    assert load_settings() == Settings()
    assert {each.kind for each in origins().values()} == {"default"}
    assert list(origins()) == list(Settings.model_fields)


def test_flag_over_environment_over_dotenv_over_file(
    config_file: Path, nothing_said: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config_file.write_text("log_level: error\nqueue_depth: 1\nport: 1001\nhost: 127.0.0.9\n")
    (nothing_said / ".env").write_text("# mine\nLANHAVEN_QUEUE_DEPTH=2\nLANHAVEN_PORT=1002\nLANHAVEN_HOST=127.0.0.8\n")
    monkeypatch.setenv("LANHAVEN_PORT", "1003")
    monkeypatch.setenv("LANHAVEN_HOST", "127.0.0.7")
    flags = {"host": "127.0.0.6", "api_key": None}
    settings = load_settings(flags)
    assert (settings.log_level, settings.queue_depth, settings.port, settings.host) == ("error", 2, 1003, "127.0.0.6")
    told = {name: str(origin) for name, origin in origins(flags).items()}
    assert told["log_level"] == f"{config_file}:1"
    assert told["queue_depth"] == ".env LANHAVEN_QUEUE_DEPTH in .env:2"
    assert told["port"] == "env LANHAVEN_PORT"
    assert told["host"] == "flag --host"
    assert told["api_key"] == "default"


@pytest.mark.req("S0-80", "S0-81", "S0-82", "S0-83", "S0-84", "S0-85", "S0-86", "S0-87", "S1-38", "S1-39", "C26")
@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("GATEWAY_HOST", "0.0.0.0", "host", "0.0.0.0"),
        ("GATEWAY_PORT", "8001", "port", 8001),
        ("IP_ALLOWLIST", "192.168.0.0/24,10.0.0.0/24", "ip_allowlist", ("192.168.0.0/24", "10.0.0.0/24")),
        ("IP_ALLOWLIST", "*", "ip_allowlist", ("*",)),
        ("REQUIRE_AUTH_FOR_HEALTH", "true", "require_auth_for_health", True),
        ("LOG_LEVEL", "DEBUG", "log_level", "debug"),
        ("LOG_LEVEL", "warn", "log_level", "warning"),
        ("PROXY_TIMEOUT", "120000", "proxy_timeout", 120.0),
        ("PROXY_TIMEOUT", "2m", "proxy_timeout", 120.0),
        ("PROXY_STREAM_TIMEOUT", "300000", "proxy_stream_timeout", 300.0),
        ("PROXY_STREAM_TIMEOUT", "0", "proxy_stream_timeout", 0.0),
        ("LANHAVEN_PROXY_TIMEOUT", "90", "proxy_timeout", 90.0),
        ("LMSTUDIO_BASE_URL", "http://127.0.0.1:9999", "lmstudio_base_url", "http://127.0.0.1:9999"),
        ("LM_STUDIO_BASE_URL", "http://127.0.0.1:9998/v1", "lmstudio_base_url", "http://127.0.0.1:9998"),
        ("GATEWAY_ENV", "local", "env", "local"),
        ("NODE_ENV", "development", "env", "local"),
        ("NODE_ENV", "staging", "env", "production"),
        ("APP_ENV", "testing", "env", "test"),
    ],
)
def test_aliases(variable: str, text: str, field: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, text)
    assert load_settings().model_dump()[field] == value
    assert str(origins()[field]) == f"env {variable}"


def test_the_own_name_wins_over_aliases_and_the_first_alias_over_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_STUDIO_BASE_URL", "http://127.0.0.1:2")
    monkeypatch.setenv("LMSTUDIO_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("GATEWAY_PORT", "not a port")
    monkeypatch.setenv("LANHAVEN_PORT", "9000")
    settings = load_settings()
    assert (settings.lmstudio_base_url, settings.port) == ("http://127.0.0.1:1", 9000)


def test_the_key_comes_from_its_alias_and_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_API_KEY", "canary-key-of-the-gateway")
    settings = load_settings()
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "canary-key-of-the-gateway"
    assert "canary" not in f"{settings!r}{settings}{settings.public()}{origins()}"


def test_empty_variables_say_nothing_but_lists_are_emptied(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config_file.write_text("port: 9000\nip_allowlist: [10.0.0.0/8]\nalso_listen: 127.0.0.1:9001\n")
    for name in ("LANHAVEN_PORT", "GATEWAY_API_KEY", "LANHAVEN_ALSO_LISTEN", "IP_ALLOWLIST"):
        monkeypatch.setenv(name, "")
    settings = load_settings()
    assert (settings.port, settings.api_key) == (9000, None)
    assert (settings.also_listen, settings.ip_allowlist) == ((), ())


def test_every_setting_of_words_is_emptied_by_an_empty_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    words = {name for name, field in Settings.model_fields.items() if "tuple[str" in str(field.annotation)}
    assert "lmstudio_guests" in words
    for name in words:
        monkeypatch.setenv(f"LANHAVEN_{name.upper()}", "")
    settings = load_settings()
    assert [name for name in words if dict(settings)[name] != ()] == []


@pytest.mark.parametrize(
    ("variable", "hint"),
    [("LANHAVEN_IP_ALOWLIST", "ip_allowlist"), ("LANHAVEN_PORTS", "port"), ("LANHAVEN_QUEUEDEPTH", "queue_depth")],
)
def test_a_misspelt_variable_is_refused(variable: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "1")
    error = refusal()
    assert variable in error.message
    assert error.hint == f"did you mean {hint}?"


def test_variables_of_others_are_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANHAVEN_URL", "LANHAVEN_SERVICE_PORT_HTTP", "LANHAVEN_8002_TCP_ADDR", "PORT", "HOST"):
        monkeypatch.setenv(name, "whatever")
    assert load_settings() == Settings()


def test_all_that_is_wrong_is_told_at_once_with_its_origin(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config_file.write_text("# settings\nidle_ttl: soon\n")
    monkeypatch.setenv("GATEWAY_PORT", "70000")
    error = refusal(host="a b")
    for part in (f"idle_ttl ({config_file}:2)", "port (env GATEWAY_PORT)", "host (flag --host)", "'soon'", "'70000'"):
        assert part in error.message
    assert error.facts["settings"] == ["host", "idle_ttl", "port"]
    assert error.hint is not None
    assert "default ('127.0.0.1')" in error.hint


@pytest.mark.req("F-186")
@pytest.mark.parametrize("key", ["canary with blanks", "canary\n", "canäry-key"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(key: str) -> None:
    error = refusal(api_key=key)
    assert "api_key (flag --api-key): must be visible ASCII" in error.message
    assert key.split()[0] not in f"{error.message}{error.hint}"


def test_an_unknown_setting_in_the_file_is_refused_with_line_and_nearest_name(config_file: Path) -> None:
    config_file.write_text("port: 1\n\nmax-loaded-model: 3\n")
    error = refusal()
    assert error.message == f"{config_file}:3: there is no setting 'max-loaded-model'"
    assert error.hint == "did you mean max_loaded_models?"


def test_an_unknown_flag_is_refused() -> None:
    assert refusal(prot=1).hint == "did you mean port?"


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("port: 1\nport: 2\n", 2, "stands here and in line 1"),
        ("port: [1\n", 2, "is not YAML"),
        ("port: {a: 1}\n", 1, "port must be one value"),
        ("a\n", 1, "must be a mapping"),
        ("port: 1\n---\nport: 2\n", 3, "second document"),
        ("host: &x 127.0.0.1\n", 1, "anchors and aliases"),
        ("also_listen:\n  - a: 1\n", 2, "is a list of words"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_line(config_file: Path, text: str, line: int, part: str) -> None:
    config_file.write_text(text)
    error = refusal()
    assert error.message.startswith(f"config.yaml:{line}: ")
    assert part in error.message
    assert error.hint


def test_values_of_the_file_mean_what_they_mean_in_the_environment(config_file: Path) -> None:
    config_file.write_text(
        "api_key: 1234567890123456\nlan: yes\nip_allowlist: 10.0.0.0/8, 10.1.0.1\nmemory_budget: 12GB\n"
        "load_timeout: 5m\nmodels_file: ~\n"
        "providers:\n  lmstudio: {timeout: 5, api_key: canary, deep: [{token: canary}]}\n"
    )
    settings = load_settings()
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "1234567890123456"
    assert (settings.lan, settings.host) == (True, "0.0.0.0")
    assert settings.ip_allowlist == ("10.0.0.0/8", "10.1.0.1/32")
    assert (settings.memory_budget, settings.load_timeout, settings.models_file) == (12 * 10**9, 300.0, None)
    assert settings.providers["lmstudio"]["timeout"] == 5
    assert "canary" not in f"{settings!r}{settings.public()}"


def test_provider_options_are_json_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANHAVEN_PROVIDERS", '{"openai": {"timeout": 3}}')
    assert load_settings().providers == {"openai": {"timeout": 3}}
    monkeypatch.setenv("LANHAVEN_PROVIDERS", "{canary")
    error = refusal()
    assert "providers (env LANHAVEN_PROVIDERS): is not JSON" in error.message
    assert "canary" not in error.message


def test_paths_in_the_file_are_relative_to_it(config_file: Path, nothing_said: Path, tmp_path: Path) -> None:
    config_file.write_text("models_file: mine.yaml\ndata_dir: ~/data\n")
    settings = load_settings({"cache_dir": "cache"})
    assert settings.models_file == config_file.parent / "mine.yaml"
    assert settings.data_dir == tmp_path / "home" / "data"
    assert settings.cache_dir == nothing_said / "cache"


def test_which_config_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_config_file() == tmp_path / "home/.config/lanhaven/config.yaml"
    monkeypatch.setenv("LANHAVEN_CONFIG_DIR", str(tmp_path / "a"))
    assert find_config_file() == tmp_path / "a/config.yaml"
    assert find_config_file({"config_dir": tmp_path / "b"}) == tmp_path / "b/config.yaml"
    monkeypatch.setenv("LANHAVEN_CONFIG", str(tmp_path / "c.yaml"))
    assert find_config_file() == tmp_path / "c.yaml"
    assert find_config_file(config_file=tmp_path / "d.yaml") == tmp_path / "d.yaml"


def test_a_file_that_is_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="does not exist"):
        load_settings(config_file=tmp_path / "absent.yaml")
    with pytest.raises(InvalidRequest, match="not a regular file"):
        load_settings(config_file=tmp_path)


def test_a_broken_line_of_dotenv_is_refused(nothing_said: Path) -> None:
    (nothing_said / ".env").write_text('LANHAVEN_PORT=1\nLANHAVEN_HOST="127.0.0.1\n')
    error = refusal()
    assert error.message.startswith(".env:2: ")


def test_dotenv_expands_nothing_and_leaves_the_environment_alone(nothing_said: Path) -> None:
    (nothing_said / ".env").write_text("export GATEWAY_API_KEY='a$HOME-${PATH}'\n")
    key = load_settings().api_key
    assert key is not None
    assert key.get_secret_value() == "a$HOME-${PATH}"
    assert load_settings({"port": 5}).port == 5


@pytest.mark.req("S4-01", "C1")
@pytest.mark.parametrize(("api", "port"), [("openai", 8080), ("ollama", 11434), ("both", 8080), (None, 8002)])
def test_the_api_moves_the_default_port(api: str | None, port: int) -> None:
    assert load_settings({"api": api}).port == port
    assert load_settings({"api": api, "port": 4242}).port == 4242
    assert str(origins({"api": api})["port"]).startswith("default because api is" if api else "default")
