"""An own certificate authority, made once, and the server certificates that it signs. What `--tls` stands on.

The authority is of no use against the rest of the world: its certificate is bound to private addresses, to names that
exist on a LAN only, and to what this machine was called when it was made (RFC 5280, 4.2.1.10).

Imports cryptography, which takes 60 ms: `certificates` imports this file when there is something to sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lanhaven.config.atomic import locked, write_text
from lanhaven.network.pem import Pair

CA_YEARS = 10
DAYS = 397  # Safari and iOS take no server certificate that lives longer than 398 days
RENEW_BEFORE = timedelta(days=30)
SLACK = timedelta(hours=1)  # for clients whose clock is behind

# Names that no public authority signs for: mDNS (RFC 6762 with its appendix G), RFC 8375, ICANN's own.
LOCAL_NAMES = ("localhost", "local", "lan", "home", "home.arpa", "internal", "intranet", "private")
LOCAL_NETWORKS = (
    *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"),
    *("::1/128", "fc00::/7", "fe80::/10"),
)


def ensure(authority: Pair, machine: str, names: Iterable[str], now: datetime) -> None:
    """Make the authority, if it is not there, for LANs and for these names and addresses. GatewayError."""
    with locked(authority.key):
        if authority.exists:
            return
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(f"LanHaven CA of {machine}")
        builder = _builder(subject, subject, key, now, timedelta(days=365 * CA_YEARS))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_SIGNS_ONLY, critical=True)
        builder = builder.add_extension(_bounds(names), critical=True)
        _save(authority, builder.sign(key, SHA256()), key)


def issue(authority: Pair, server: Pair, machine: str, names: Sequence[str], now: datetime) -> None:
    """Write a server certificate for those of these names and addresses that the authority may sign for.

    ValueError or OSError if the authority's files are damaged; GatewayError if the new ones cannot be written.
    """
    issuer, signing = _load(authority)
    good = _permitted(issuer, names)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(f"LanHaven on {machine}"), issuer.subject, key, now, timedelta(days=DAYS))
    alternatives = x509.SubjectAlternativeName([_general(name) for name in good])
    builder = builder.add_extension(alternatives, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    of_issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key())
    _save(server, builder.add_extension(of_issuer, critical=False).sign(signing, SHA256()), key)


def beyond(authority: Pair, names: Sequence[str]) -> tuple[str, ...]:
    """Names and addresses that the authority may not sign for. ValueError or OSError if its files are damaged."""
    issuer, _ = _load(authority)
    good = _permitted(issuer, names)
    return tuple(name for name in names if name not in good)


def stale(authority: Pair, server: Pair, names: Sequence[str], now: datetime) -> bool:
    """Whether the certificate must be issued anew: missing, damaged, near its end, another CA's, or for other names.

    ValueError or OSError if the authority's files are damaged.
    """
    issuer, _ = _load(authority)
    try:
        certificate, _ = _load(server)
        certificate.verify_directly_issued_by(issuer)
    except (OSError, ValueError, TypeError, InvalidSignature):
        return True
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return ends - now < RENEW_BEFORE or begins > now or names_of(certificate) != set(_permitted(issuer, names))


def names_of(certificate: x509.Certificate) -> set[str]:
    """The names and addresses that a certificate is for."""
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = (str(each) for each in found.get_values_for_type(x509.IPAddress))
    return {*found.get_values_for_type(x509.DNSName), *addresses}


def _load(pair: Pair) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    key = load_pem_private_key(pair.key.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ValueError(f"{pair.key} is not the key of {pair.certificate}")
    return certificate, key


def _save(pair: Pair, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    """The key first: whoever sees the certificate finds its key. Both 0600."""
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_text(pair.key, secret.decode("ascii"))
    write_text(pair.certificate, certificate.public_bytes(Encoding.PEM).decode("ascii"))


def _permitted(issuer: x509.Certificate, names: Sequence[str]) -> list[str]:
    """Those within the bounds of the authority, each once."""
    bounds = issuer.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or ()
    domains = [each.value for each in bounds if isinstance(each, x509.DNSName)]
    networks = [ip_network(str(each.value)) for each in bounds if isinstance(each, x509.IPAddress)]

    def within(name: str) -> bool:
        try:
            address = ip_address(name)
        except ValueError:
            return any(name == domain or name.endswith(f".{domain}") for domain in domains)
        return any(address in network for network in networks if network.version == address.version)

    return [name for name in dict.fromkeys(names) if within(name)]


def _bounds(names: Iterable[str]) -> x509.NameConstraints:
    permitted: list[x509.GeneralName] = [x509.DNSName(name) for name in LOCAL_NAMES]
    permitted += [x509.IPAddress(ip_network(network)) for network in LOCAL_NETWORKS]
    for name in dict.fromkeys(names):
        try:
            permitted.append(x509.IPAddress(ip_network(name)))
        except ValueError:
            permitted.append(x509.DNSName(name))
    return x509.NameConstraints(permitted, excluded_subtrees=None)


_SIGNS_ONLY = x509.KeyUsage(
    digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
    key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
)  # fmt: skip


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SLACK)
        .not_valid_after(now - SLACK + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])
