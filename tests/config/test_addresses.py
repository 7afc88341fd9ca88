from __future__ import annotations

import pytest

from lanhaven.config import addresses

SAME = ("192.168.1.0/24", "10.0.0.0/8", "0.0.0.0/0", "fd00::/8")


@pytest.mark.req("F-146", "S0-84")
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *((each, each) for each in SAME),
        ("10.0.0.7", "10.0.0.7/32"),
        ("::1", "::1/128"),
        ("FD00::/8", "fd00::/8"),
        ("::ffff:192.168.1.5", "192.168.1.5/32"),
        ("::ffff:192.168.1.0/120", "192.168.1.0/24"),
    ],
)
def test_networks_in_canonical_spelling(written: str, meant: str) -> None:
    assert str(addresses.network(written)) == meant


@pytest.mark.req("F-146")
@pytest.mark.parametrize(
    "entry",
    [
        "192.168.1.5/24",
        "010.0.0.1",
        "",
        " 10.0.0.1",
        "fe80::1%eth0",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "10.0.0.0/33",
        "10.0.0.0-10.0.0.9",
        "example.lan",
        "10.0.0.1:80",
    ],
)
def test_a_bad_network_is_refused_by_name(entry: str) -> None:
    with pytest.raises(ValueError) as refusal:
        addresses.network(entry)
    assert repr(entry) in str(refusal.value)


def test_host_bits_are_answered_with_the_network_meant() -> None:
    with pytest.raises(ValueError, match=r"write 192\.168\.1\.0/24"):
        addresses.network("192.168.1.5/24")


def test_a_star_stands_alone() -> None:
    assert addresses.allowlist(["*"]) == ("*",)
    with pytest.raises(ValueError, match="stands alone"):
        addresses.allowlist(["*", "10.0.0.0/8"])
    with pytest.raises(ValueError):
        addresses.networks(["*"])


@pytest.mark.parametrize(
    ("text", "pair"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:8080", ("::1", 8080)), ("box.lan:0", ("box.lan", 0))],
)
def test_listeners(text: str, pair: tuple[str, int]) -> None:
    assert addresses.listener(text) == pair
    assert addresses.listener_text(*pair) == text


@pytest.mark.parametrize(
    "text", ["127.0.0.1", ":80", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "::1:80", "h:-1", "h:٣"]
)
def test_what_is_no_listener(text: str) -> None:
    with pytest.raises(ValueError, match="write "):
        addresses.listener(text)


@pytest.mark.parametrize("text", ["127.0.0.1", "0.0.0.0", "::", "fe80::1%eth0", "box", "my-box.local", "a_b"])
def test_hosts(text: str) -> None:
    assert addresses.host(text) == text


def test_brackets_come_off_a_host() -> None:
    assert addresses.host("[::1]") == "::1"


@pytest.mark.parametrize(
    "text", ["", "a b", "http://x", "127.1", "010.0.0.1", "::/0", "box%eth0", "-x", "a/b", "1.2.3.4:80", "::1::"]
)
def test_what_is_no_host(text: str) -> None:
    with pytest.raises(ValueError):
        addresses.host(text)


def test_host_names_are_lower_case_and_never_a_wildcard() -> None:
    assert addresses.host_name("Models.Example.LAN.") == "models.example.lan"
    with pytest.raises(ValueError, match="rebinding"):
        addresses.host_name("*")


@pytest.mark.req("F-150")
@pytest.mark.parametrize(
    "text", ["null", "example.lan", "https://", "https://a/b", "ftp://a", "https://u@a", "https://a/"]
)
def test_what_is_no_origin(text: str) -> None:
    with pytest.raises(ValueError, match="is not an origin"):
        addresses.origin(text)


def test_origins() -> None:
    assert addresses.origin("https://Chat.Example.lan:8443") == "https://chat.example.lan:8443"
    assert addresses.origin("*") == "*"


@pytest.mark.req("S1-33")
@pytest.mark.parametrize(
    "text", ["http://127.0.0.1:9999", "http://127.0.0.1:9999/", "http://127.0.0.1:9999/v1", "http://127.0.0.1:9999/v1/"]
)
def test_a_base_url_loses_slash_and_version(text: str) -> None:
    assert addresses.base_url(text) == "http://127.0.0.1:9999"


@pytest.mark.parametrize(
    "text", ["", "127.0.0.1:1234", "ws://a", "http://", "http://a:99999", "http://u:p@a", "http://a?x=1"]
)
def test_what_is_no_base_url(text: str) -> None:
    with pytest.raises(ValueError):
        addresses.base_url(text)


@pytest.mark.parametrize(
    "text",
    ["images.example.com", "*.example.com", "*", "*:8080", "nas.lan:8080", "192.168.1.5", "[fd00::5]:81", "[::1]"],
)
def test_hosts_of_images(text: str) -> None:
    assert addresses.image_host(text.upper()) == text


@pytest.mark.parametrize(
    "text", ["", "http://x", "x/y", "a*b", "*.", "**", "x:", "x:0x50", "x:99999", "fd00::5", "010.0.0.1", "x%y", "a b"]
)
def test_what_is_no_host_of_images(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        addresses.image_host(text)
