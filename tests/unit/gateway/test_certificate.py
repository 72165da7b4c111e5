"""Self-made certificates: trusted by OpenSSL for their hosts, renewed in time, authority bound to its hosts."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from gateway.certificate import CertificateState, ensure_certificate, read_certificate

NOW = datetime(2026, 11, 20, tzinfo=UTC)
HOSTS = ["crm.localhost", "console.localhost", "127.0.0.1"]


def handshake(certificate: Path, key: Path, authority: Path, host: str) -> str:
    """TLS in memory between two contexts; answers the protocol version or raises ssl.SSLError."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate, key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = ssl.create_default_context(cafile=str(authority)).wrap_bio(to_client, to_server, server_hostname=host)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return client.version() or ""


def test_browser_like_client_accepts_it_for_every_host(tmp_path: Path) -> None:
    made = ensure_certificate(tmp_path, HOSTS, datetime.now(UTC))
    assert made.authority is not None
    for host in HOSTS:
        assert handshake(made.certificate, made.key, made.authority, host) == "TLSv1.3"


def test_keys_are_private_and_the_authority_may_sign_for_its_hosts_only(tmp_path: Path) -> None:
    made = ensure_certificate(tmp_path, HOSTS, NOW)
    assert made.authority is not None
    assert (tmp_path / "gateway.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "authority.key").stat().st_mode & 0o777 == 0o600
    authority = x509.load_pem_x509_certificate(made.authority.read_bytes())
    limits = authority.extensions.get_extension_for_class(x509.NameConstraints)
    assert limits.critical
    assert {str(name.value) for name in limits.value.permitted_subtrees or []} == {*HOSTS[:2], "127.0.0.1/32"}


def test_kept_while_good_and_renewed_under_the_same_authority_before_it_ends(tmp_path: Path) -> None:
    made = ensure_certificate(tmp_path, HOSTS, NOW)
    assert made.authority is not None
    first, authority = made.certificate.read_bytes(), made.authority.read_bytes()
    ensure_certificate(tmp_path, HOSTS[:1], NOW + timedelta(days=300))
    assert made.certificate.read_bytes() == first
    ensure_certificate(tmp_path, HOSTS, NOW + timedelta(days=340))
    assert made.certificate.read_bytes() != first
    assert made.authority.read_bytes() == authority


def test_another_host_gets_another_authority(tmp_path: Path) -> None:
    made = ensure_certificate(tmp_path, HOSTS, NOW)
    assert made.authority is not None
    before = made.authority.read_bytes()
    ensure_certificate(tmp_path, [*HOSTS, "crm.example.org"], NOW)
    assert made.authority.read_bytes() != before
    assert "crm.example.org" in read_certificate(made.certificate).hosts


def test_wildcard_covers_one_label() -> None:
    state = CertificateState(NOW, frozenset({"*.example.org"}))
    assert state.covers("crm.example.org")
    assert not state.covers("a.b.example.org")
    assert not state.covers("example.org")
