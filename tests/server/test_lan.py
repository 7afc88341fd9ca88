"""How others reach the server, as it says itself; without a network."""

from __future__ import annotations

from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import pytest

from lanhaven.config import Settings
from lanhaven.network.links import Link
from lanhaven.server.lan import Lan
from lanhaven.server.lan_routes import drawn, lan_json
from lanhaven.server.sockets import Address
from tests.serving import serving

pytestmark = pytest.mark.anyio

OWN = [Link("lo", ip_interface("127.0.0.1/8")), Link("eth0", ip_interface("10.77.0.5/24"))]
OWN += [Link("docker0", ip_interface("172.17.0.1/16"))]


def lan(own: list[Link], host: str = "0.0.0.0", **fields: Any) -> Lan:
    made = Lan(Settings(host=host, mdns=False, **fields), lambda: tuple(own))
    made.where = (Address(host, 8002, tls=made.certificate is not None),)
    return made


def test_the_lans_addresses_first_bridges_last() -> None:
    urls = lan(OWN).urls()
    assert urls[-2:] == ("http://10.77.0.5:8002", "http://172.17.0.1:8002")
    assert [str(each) for each in lan(OWN).addresses(lan_only=True)][-1] == "10.77.0.5"


def test_a_server_for_this_machine_alone() -> None:
    made = lan(OWN, host="127.0.0.1")
    assert (made.open, made.urls()) == (False, ("http://127.0.0.1:8002",))
    assert lan_json(made) == {
        "open": False,
        "urls": ["http://127.0.0.1:8002"],
        "tls": False,
        "howToOpen": "lanhaven up --lan",
    }


def test_the_certificate_follows_the_addresses(tmp_path: Path) -> None:
    own = [*OWN]
    made = lan(own, tls=True, config_dir=tmp_path, allowed_hosts=("models.example.com",))
    made.prepare()
    assert made.ca == made.trusted_by_us == tmp_path / "tls/ca.crt"
    assert {"localhost", "127.0.0.1", "10.77.0.5", "models.example.com"} <= set(made.names())
    assert made.certificate is not None
    first = made.certificate.context()
    own.append(Link("wlan0", ip_interface("192.168.9.9/24")))
    made.certificate.refresh()
    assert made.certificate.context() is not first


async def test_without_a_network_the_name_is_missed_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    made = Lan(Settings(lan=True, host="192.0.2.77"), lambda: tuple(OWN))
    await made.begin((Address("192.0.2.77", 8002),))
    assert (made.name, made.named_url) == (None, None)
    assert made.problem == "this server has no name on the network: there is no network to tell"
    assert [record.getMessage() for record in caplog.records] == [made.problem]
    await made.end()


def test_a_code_is_a_picture_of_its_own_size() -> None:
    assert b"viewBox" in drawn("http://10.77.0.5:8002")


async def test_the_routes_of_a_server_without_a_network(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        assert (await house.http.get("/ca.crt")).status_code == 404
        body = (await house.http.get("/admin/lan")).json()
        assert (body["open"], body["tls"]) == (False, False)
        refused = await house.http.get("/admin/lan/qr.svg", params={"url": "http://elsewhere"})
        assert refused.status_code == 400


async def test_the_names_on_the_lan_may_stand_in_a_host_header(tmp_path: Path) -> None:
    async with serving(tmp_path, key="a-key-of-the-settings", lan=True, host="127.0.0.1", mdns_name="models") as house:
        for name, status in (("models.local", 200), ("MODELS-2.local:8002", 200), ("lanhaven.local", 403)):
            assert (await house.http.get("/livez", headers={"host": name})).status_code == status, name
