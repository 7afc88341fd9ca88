"""A server on a network: its certificate, its name, the command line and the SDK that trust it. All on loopback."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.sync.client import connect

from lanhaven import Client
from lanhaven.errors import GatewayError
from tests.house_process import environment, sockets_folder, spawn, until

MODELS = "default_model: alpha\nmodels:\n  - {id: alpha, provider: mock, enabled: true}\n"
NAME = "lanhaven-e2e"
KEY = "sk-lan-0123456789abcdefghijklmnop"
FLAGS = ("up", "--provider", "mock", "--lan", "--host", "127.0.0.1", "--port", "0", "--no-open")


class Secure:
    """A running `lanhaven up --lan --tls`, seen from outside."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.run_file = json.loads((home / "state/server.json").read_text())
        self.url: str = self.run_file["url"]
        self.ca: str = self.run_file["ca"]

    @property
    def log(self) -> str:
        return (self.home / "server.log").read_text()

    def get(self, path: str, key: str | None = KEY) -> httpx2.Response:
        with httpx2.Client(verify=ssl.create_default_context(cafile=self.ca), trust_env=False) as http:
            return http.get(self.url + path, headers={"x-api-key": key} if key else {})

    def command(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lanhaven", *words],
            env=environment(self.home, **settings), capture_output=True, text=True, check=False, cwd=self.home, timeout=50,
        )  # fmt: skip


@contextmanager
def started(home: Path, *flags: str, **settings: str) -> Iterator[Secure]:
    (home / "models.yaml").write_text(MODELS)
    with sockets_folder() as run_dir:
        process, run_file = spawn(
            home, *FLAGS, *flags, "--models", str(home / "models.yaml"), LANHAVEN_RUN_DIR=str(run_dir),
            LANHAVEN_API_KEY=KEY, LANHAVEN_MDNS_NAME=NAME, **settings,
        )  # fmt: skip
        try:
            until(
                lambda: "ready in" in (home / "server.log").read_text() or process.poll() is not None, "the banner", 40
            )
            assert run_file.exists(), (home / "server.log").read_text()
            yield Secure(home)
        finally:
            process.terminate()
            assert process.wait(30) == 0
    assert "Traceback" not in (home / "server.log").read_text()


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    with started(tmp_path_factory.mktemp("lan_e2e"), "--tls") as house:
        yield house


def test_the_banner_names_what_others_need(secure: Secure) -> None:
    assert f"OpenAI     {secure.url}/v1" in secure.log
    assert f"Trust      {secure.url}/ca.crt" in secure.log
    assert "https://lanhaven-e2e" in secure.log  # the name; another run of these tests may have the first one
    assert KEY not in secure.log


def test_the_authority_is_there_for_everybody(secure: Secure) -> None:
    reply = secure.get("/ca.crt", key=None)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/x-x509-ca-cert")
    assert reply.content == Path(secure.ca).read_bytes()
    assert Path(secure.ca).stat().st_mode & 0o777 == 0o600
    assert Path(secure.ca).parent == secure.home / "config/tls"


def test_the_way_in_for_the_dashboard(secure: Secure) -> None:
    assert secure.get("/admin/lan", key=None).status_code == 401
    body: dict[str, Any] = secure.get("/admin/lan").json()
    assert (body["urls"], body["open"], body["tls"], body["caUrl"]) == ([secure.url], False, True, "/ca.crt")
    assert body["mdns"].startswith("https://lanhaven-e2e")
    assert body["howToOpen"] == "lanhaven up --lan"
    code = secure.get(f"/admin/lan/qr.svg?url={secure.url}")
    assert (code.headers["content-type"], code.text[-7:-1]) == ("image/svg+xml", "</svg>")
    assert secure.get("/admin/lan/qr.svg?url=https://example.com").status_code == 400


def test_the_name_on_the_network_is_one_of_ours(secure: Secure) -> None:
    host = secure.get("/admin/lan").json()["mdns"].removeprefix("https://")
    context = ssl.create_default_context(cafile=secure.ca)
    with httpx2.Client(verify=context, trust_env=False) as http:
        reply = http.get(
            f"{secure.url}/livez", headers={"host": host}, extensions={"sni_hostname": host.partition(":")[0]}
        )
        assert reply.status_code == 200
        assert http.get(f"{secure.url}/livez", headers={"host": "evil.local"}).status_code == 403


def test_a_browser_and_a_websocket_come_in(secure: Secure) -> None:
    context = ssl.create_default_context(cafile=secure.ca)
    with httpx2.Client(base_url=secure.url, verify=context, trust_env=False) as http:
        signed = http.post("/ui/session", json={"key": KEY}, headers={"origin": secure.url})
        assert signed.status_code == 204
        assert "; Secure" in signed.headers["set-cookie"]
        assert http.get("/ui/session").json()["tls"] is True
    with connect(secure.url.replace("https", "wss") + "/system", ssl=context, proxy=None) as socket:
        socket.send(json.dumps({"authVersion": 1, "clientIdentifier": "x", "clientPasskey": "y"}))
        assert "success" in json.loads(socket.recv(10))


def test_plain_http_is_sent_on(secure: Secure) -> None:
    with httpx2.Client(trust_env=False) as http:
        reply = http.get(secure.url.replace("https", "http") + "/health")
    assert reply.status_code == 400
    assert secure.url in reply.json()["error"]


def test_the_command_line_of_the_same_user_trusts_it(secure: Secure) -> None:
    status = secure.command("status", "--json")
    assert status.returncode == 0, status.stderr
    stranger = secure.command("status", "--url", secure.url, "--key", KEY, LANHAVEN_STATE_DIR="/nonexistent")
    assert stranger.returncode == 3
    assert "certificate" in stranger.stderr.lower()
    told = secure.command(
        "status", "--url", secure.url, "--key", KEY, LANHAVEN_STATE_DIR="/nonexistent", LANHAVEN_CA=secure.ca
    )
    assert told.returncode == 0, told.stderr


def test_the_sdk_trusts_a_file_or_this_users_server(secure: Secure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANHAVEN_STATE_DIR", "/nonexistent")
    for name in ("LANHAVEN_CA", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    with Client(secure.url, KEY, max_retries=0) as stranger, pytest.raises(GatewayError, match="certificate"):
        stranger.list_models()
    with Client(secure.url, KEY, ca_file=secure.ca) as client:
        assert [card.id for card in client.list_models()] == ["alpha"]
    monkeypatch.setenv("LANHAVEN_STATE_DIR", str(secure.home / "state"))
    with Client(secure.url, KEY) as client:
        assert [card.id for card in client.list_models()] == ["alpha"]
    with pytest.raises(GatewayError, match="cannot be used as a list of authorities"):
        Client(secure.url, KEY, ca_file="/nonexistent.crt")


def test_it_is_found(secure: Secure) -> None:
    port = int(secure.url.rpartition(":")[2])
    for _ in range(3):  # the network is asked anew: two programs share one machine's port for multicast here
        found = secure.command("discover", "--interface", "127.0.0.1", "--timeout", "2", "--json")
        servers = json.loads(found.stdout)["servers"] if found.stdout else []
        ours = [each for each in servers if each["port"] == port]
        if ours:
            break
    (server,) = ours
    assert server["url"] == secure.url
    assert (server["tls"], server["keyRequired"], server["version"]) == (True, True, "0.1.0")


def test_somebody_elses_certificate(secure: Secure, tmp_path: Path) -> None:
    folder = Path(secure.ca).parent
    flags = ("--tls-cert", str(folder / "server.crt"), "--tls-key", str(folder / "server.key"))
    with started(tmp_path, *flags, LANHAVEN_MDNS="false") as house:
        assert house.command("status").returncode == 0
        with httpx2.Client(verify=ssl.create_default_context(cafile=secure.ca), trust_env=False) as http:
            assert http.get(f"{house.url}/ca.crt").status_code == 404
            assert http.get(f"{house.url}/livez").status_code == 200
