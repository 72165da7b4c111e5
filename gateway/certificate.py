"""TLS certificates that crmgate makes for itself where IT has given none, and what a given one says.

The authority made here may sign for the configured hosts only (RFC 5280, 4.2.1.10), so trusting it in a browser
trusts nobody else. Keys are ECDSA P-256, written with mode 0600 before anything refers to them.
"""

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.tls import Expiry

AUTHORITY_DAYS = 3650
LEAF_DAYS = 365
RENEW_DAYS = 30


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files for a listener; authority is what people may import to trust it, None for a certificate of IT's own."""

    certificate: Path
    key: Path
    authority: Path | None = None


@dataclass(frozen=True, slots=True)
class CertificateState:
    """What a certificate says: last moment it is valid (UTC) and the hosts it is for."""

    not_after: datetime
    hosts: frozenset[str]

    def covers(self, host: str) -> bool:
        """Whether the certificate is for this host, wildcards of one label included."""
        return host in self.hosts or f"*.{host.partition('.')[2]}" in self.hosts


def read_certificate(file: Path) -> CertificateState:
    """Look into the first certificate of a PEM file; raises OSError or ValueError when there is none."""
    return _state(x509.load_pem_x509_certificate(file.read_bytes()))


def file_expiry(leg: str, file: Path) -> Expiry:
    """When the certificate in a file ends; unseen when there is none."""
    try:
        return Expiry(leg, read_certificate(file).not_after)
    except (OSError, ValueError):
        return Expiry(leg, None)


def ensure_certificate(folder: Path, hosts: Sequence[str], now: datetime) -> TlsFiles:
    """A certificate for `hosts` (names and addresses) in `folder`, made or renewed when needed."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = TlsFiles(folder / "gateway.pem", folder / "gateway.key", folder / "authority.pem")
    if not _still_good(files, frozenset(hosts), now):
        _make(folder, files, sorted(set(hosts)), now)
    return files


def _still_good(files: TlsFiles, hosts: frozenset[str], now: datetime) -> bool:
    try:
        state = read_certificate(files.certificate)
    except (OSError, ValueError):
        return False
    return files.key.exists() and hosts <= state.hosts and state.not_after - now > timedelta(days=RENEW_DAYS)


def _make(folder: Path, files: TlsFiles, hosts: list[str], now: datetime) -> None:
    assert files.authority is not None
    authority_key_file = folder / "authority.key"
    authority_key = _load_key(authority_key_file)
    authority = _load_authority(files.authority, hosts, now) if authority_key else None
    if authority is None or authority_key is None:
        authority_key = ec.generate_private_key(ec.SECP256R1())
        authority = _sign_authority(authority_key, hosts, now)
        _write_private(authority_key_file, _pem(authority_key))
        files.authority.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = _sign_leaf(key, hosts, now, authority, authority_key)
    _write_private(files.key, _pem(key))
    chain = [leaf, authority]
    files.certificate.write_bytes(b"".join(part.public_bytes(serialization.Encoding.PEM) for part in chain))


def _load_key(file: Path) -> ec.EllipticCurvePrivateKey | None:
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), None)
    except (OSError, ValueError):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _load_authority(file: Path, hosts: list[str], now: datetime) -> x509.Certificate | None:
    """The authority on disk when it is valid for another leaf's life and may sign for all `hosts`."""
    try:
        authority = x509.load_pem_x509_certificate(file.read_bytes())
        permitted = authority.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or []
    except (OSError, ValueError, x509.ExtensionNotFound):
        return None
    allowed = {str(name.value) for name in permitted}
    fits = all(str(name.value) in allowed for name in _constraints(hosts))
    return authority if fits and authority.not_valid_after_utc - now > timedelta(days=LEAF_DAYS) else None


def _sign_authority(key: ec.EllipticCurvePrivateKey, hosts: list[str], now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"crmgate authority of {hosts[0]}"[:64])])
    return (
        _builder(name, name, key, now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.NameConstraints(_constraints(hosts), None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _sign_leaf(
    key: ec.EllipticCurvePrivateKey,
    hosts: list[str],
    now: datetime,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        _builder(name, authority.subject, key, now, LEAF_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(issuer_key, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _builder(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # An hour back, for clients whose clock is behind.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _constraints(hosts: list[str]) -> list[x509.GeneralName]:
    named: list[x509.GeneralName] = []
    for host in hosts:
        name = _general_name(host)
        named.append(x509.IPAddress(ipaddress.ip_network(host)) if isinstance(name, x509.IPAddress) else name)
    return named


def _state(certificate: x509.Certificate) -> CertificateState:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return CertificateState(certificate.not_valid_after_utc, frozenset())
    return CertificateState(certificate.not_valid_after_utc, frozenset(str(name.value) for name in names))


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_private(file: Path, data: bytes) -> None:
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(data)
