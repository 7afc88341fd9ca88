"""The own authority and its certificates; files of somebody's own."""

from __future__ import annotations

import logging
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from lanhaven.network import authority
from lanhaven.network.certificates import CertificateFault, GivenCertificate, OwnCertificate
from lanhaven.network.pem import Pair

NOW = datetime(2026, 11, 21, 22, 0, tzinfo=UTC)
NAMES = ("localhost", "workshop", "workshop.local", "lanhaven.local", "127.0.0.1", "192.168.1.20", "fd00::7")


class House:
    """A certificate of its own, with names and a clock that the test moves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: tuple[str, ...] = NAMES
        self.now = NOW

    def certificate(self) -> OwnCertificate:
        return OwnCertificate(self.folder, "workshop", lambda: self.names, lambda: self.now)

    def shown(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / "server.crt").read_bytes())

    def authority(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / "ca.crt").read_bytes())


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "tls")


def test_the_authority_signs_for_lans_only_and_for_ten_years(house: House) -> None:
    own = house.certificate()
    made = house.authority()
    bounds = made.extensions.get_extension_for_class(x509.NameConstraints)
    permitted = [str(each.value) for each in bounds.value.permitted_subtrees or ()]
    assert bounds.critical
    assert {"local", "192.168.0.0/16", "fc00::/7", "workshop"} <= set(permitted)
    assert made.not_valid_after_utc - NOW > timedelta(days=3640)
    assert own.ca == house.folder / "ca.crt"
    assert own.left_out == ()
    for name in ("ca.key", "server.key"):
        assert stat.S_IMODE((house.folder / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(house.folder.stat().st_mode) == 0o700


def test_the_certificate_is_for_the_names_of_this_machine_and_short_lived(house: House) -> None:
    house.certificate()
    shown = house.shown()
    assert authority.names_of(shown) == set(NAMES)
    assert shown.not_valid_after_utc - shown.not_valid_before_utc == timedelta(days=397)
    shown.verify_directly_issued_by(house.authority())


def test_the_next_start_takes_what_is_there(house: House) -> None:
    house.certificate()
    before = {path: path.read_bytes() for path in house.folder.iterdir()}
    house.certificate()
    assert {path: path.read_bytes() for path in house.folder.iterdir()} == before


def test_a_changed_address_and_a_near_end_bring_another_certificate_of_the_same_authority(house: House) -> None:
    own = house.certificate()
    ca, first = house.authority(), house.shown()
    context = own.context()
    own.refresh()
    assert (house.shown(), own.context()) == (first, context)
    house.names = (*NAMES, "10.1.2.3")
    own.refresh()
    assert "10.1.2.3" in authority.names_of(house.shown())
    assert own.context() is not context
    house.now += timedelta(days=368)
    second = house.shown()
    own.refresh()
    assert house.shown() != second
    assert house.authority() == ca


def test_names_beyond_the_authority_are_left_out_and_told(house: House) -> None:
    house.certificate()
    house.names = (*NAMES, "models.example.com", "93.184.216.34")
    assert house.certificate().left_out == ("models.example.com", "93.184.216.34")
    assert authority.names_of(house.shown()) == set(NAMES)


def test_another_authority_brings_another_certificate(house: House) -> None:
    house.certificate()
    (house.folder / "ca.crt").unlink()
    house.certificate()
    house.shown().verify_directly_issued_by(house.authority())


def test_a_damaged_authority_is_told_with_what_to_do(house: House) -> None:
    house.certificate()
    (house.folder / "ca.key").write_text("nonsense")
    with pytest.raises(CertificateFault, match="cannot be used") as caught:
        house.certificate()
    assert "remove ca.crt and ca.key" in str(caught.value.hint)


def test_a_damaged_certificate_is_made_again(house: House) -> None:
    house.certificate()
    (house.folder / "server.crt").write_text("nonsense")
    house.certificate()
    assert authority.names_of(house.shown()) == set(NAMES)


def given(house: House) -> Pair:
    house.certificate()
    return Pair(house.folder / "server.crt", house.folder / "server.key")


def test_files_are_read_again_when_they_change(house: House, caplog: pytest.LogCaptureFixture) -> None:
    own = house.certificate()
    certificate = GivenCertificate(given(house))
    assert certificate.ca is None
    first = certificate.context()
    certificate.refresh()
    assert certificate.context() is first
    house.names = ("localhost",)
    own.refresh()
    certificate.refresh()
    assert (second := certificate.context()) is not first
    (house.folder / "server.key").write_text("half of a")
    with caplog.at_level(logging.WARNING):
        certificate.refresh()
        certificate.refresh()
    assert certificate.context() is second
    assert len(caplog.records) == 1


def test_files_that_do_not_fit_are_told(house: House, tmp_path: Path) -> None:
    pair = given(house)
    with pytest.raises(CertificateFault, match="the key is not the certificate's"):
        GivenCertificate(Pair(pair.certificate, house.folder / "ca.key"))
    with pytest.raises(CertificateFault, match="No such file"):
        GivenCertificate(Pair(tmp_path / "none.crt", pair.key))
    with pytest.raises(CertificateFault, match="no certificate and key in PEM"):
        GivenCertificate(Pair(pair.key, pair.certificate))
    locked = tmp_path / "locked.key"
    secret = load_pem_private_key(pair.key.read_bytes(), password=None)
    locked.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    with pytest.raises(CertificateFault, match="protected by a password"):
        GivenCertificate(Pair(pair.certificate, locked))


def test_nothing_older_than_tls_1_2_is_spoken(house: House) -> None:
    context = given(house).context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
