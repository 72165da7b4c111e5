"""TLS with real certificates: floor, ciphers, client certificates, and what a handshake tells."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.answer import UpstreamDown
from gateway.certificate import TlsFiles, ensure_certificate, file_expiry
from gateway.check import upstream_state
from gateway.composition import tenant_of
from gateway.installation import Installation
from gateway.legs import certificate_ends
from gateway.settings import TenantSettings
from gateway.settings_file import build_settings
from gateway.tls import (
    CIPHERS,
    Expiry,
    TlsFloor,
    client_context,
    look,
    nearest,
    require_ciphers,
    server_context,
    weak_ciphers,
)
from gateway.toml_tree import SettingInvalid
from policies.profile import load_profile

NOW = datetime.now(UTC)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"


@contextlib.contextmanager
def serving(context: ssl.SSLContext) -> Iterator[int]:
    """A port of 127.0.0.1 that speaks TLS and answers every request."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def meet() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(5)
                    with context.wrap_socket(connection, server_side=True) as secure:
                        while secure.recv(4096):
                            secure.sendall(ANSWER)

        thread = threading.Thread(target=meet, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def client_pair(folder: Path, days: int = 90) -> tuple[Path, Path]:
    """A certificate for clients that signs itself; the server trusts just that one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "crmgate")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=days, hours=1))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "client.pem", folder / "client.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, secret


def asking(files: TlsFiles, trusted: Path) -> ssl.SSLContext:
    """A CRM that wants a client certificate."""
    context = server_context(files.certificate, files.key)
    context.load_verify_locations(str(trusted))
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    return ensure_certificate(tmp_path / "crm", ["localhost", "127.0.0.1"], NOW)


def settings(files: TlsFiles, port: int, **more: object) -> TenantSettings:
    given = {"upstream_ca": files.authority, **more}
    return TenantSettings(f"https://localhost:{port}", **given)  # type: ignore[arg-type]


async def asked(given: TenantSettings) -> bytes:
    """The answer through the very pool that a running gateway has."""
    tenant = tenant_of("main", given, Installation(load_profile("generic")))
    try:
        answer = await tenant.pool.request(b"GET", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return b"".join([chunk async for chunk in answer.chunks()])
    finally:
        await tenant.pool.close()


def said(given: TenantSettings, now: datetime = NOW) -> list[str]:
    return [one.id for one in upstream_state("tenant.main.upstream", given, now, timeout_s=2)]


async def test_a_crm_that_wants_a_client_certificate_gets_it(files: TlsFiles, tmp_path: Path) -> None:
    certificate, key = client_pair(tmp_path)
    with serving(asking(files, certificate)) as port:
        shown = settings(files, port, upstream_certificate=certificate, upstream_key=key)
        assert await asked(shown) == b"ok"
        assert said(shown) == ["upstream-fine"]
        with pytest.raises(UpstreamDown):
            await asked(settings(files, port))
        assert said(settings(files, port)) == ["upstream-wants-certificate"]


async def test_a_client_certificate_of_somebody_else_is_not_taken(files: TlsFiles, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    trusted, _ = client_pair(tmp_path)
    certificate, key = client_pair(tmp_path / "other")
    with serving(asking(files, trusted)) as port:
        shown = settings(files, port, upstream_certificate=certificate, upstream_key=key)
        with pytest.raises(UpstreamDown):
            await asked(shown)
        assert said(shown) != ["upstream-fine"]


@pytest.mark.parametrize(("floor", "fits"), [(TlsFloor.V1_2, True), (TlsFloor.V1_3, False)])
async def test_the_floor_holds_towards_an_upstream_that_speaks_only_tls_1_2(
    files: TlsFiles, floor: TlsFloor, fits: bool
) -> None:
    context = server_context(files.certificate, files.key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(context) as port:
        given = settings(files, port, upstream_tls_minimum=floor)
        if fits:
            assert await asked(given) == b"ok"
        else:
            with pytest.raises(UpstreamDown):
                await asked(given)
        assert said(given) == (["upstream-fine"] if fits else ["upstream-tls-differs"])


def test_the_floor_and_the_ciphers_hold_at_the_listener(files: TlsFiles) -> None:
    with serving(server_context(files.certificate, files.key, TlsFloor.V1_3)) as port:
        old = client_context(files.authority)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError):
            look("localhost", port, old)
        assert look("localhost", port, client_context(files.authority)).protocol == "TLSv1.3"
    chosen = "ECDHE-ECDSA-CHACHA20-POLY1305"
    with serving(server_context(files.certificate, files.key, ciphers=chosen)) as port:
        old = client_context(files.authority)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        assert look("localhost", port, old).cipher == chosen


def test_a_handshake_verifies_and_tells_the_end_of_the_certificate(files: TlsFiles) -> None:
    with serving(server_context(files.certificate, files.key)) as port:
        seen = look("localhost", port, client_context(files.authority))
        assert seen.not_after is not None
        assert Expiry("x", seen.not_after).days(NOW) == 364
        assert seen.issuer.startswith("crmgate authority")
        with pytest.raises(ssl.SSLCertVerificationError):
            look("127.0.0.1", port, client_context())
        given = settings(files, port)
        assert said(given, NOW + timedelta(days=340)) == ["upstream-fine", "certificate-ends"]
        assert said(given, NOW + timedelta(days=360)) == ["upstream-fine", "certificate-urgent"]


def test_weak_ciphers_are_named_and_lists_without_any_refused() -> None:
    assert weak_ciphers(CIPHERS) == []
    assert weak_ciphers("AES256-SHA256:ECDHE+AESGCM") == ["AES256-SHA256"]
    with pytest.raises(ValueError, match="no cipher"):
        require_ciphers("NONE-OF-THEM")


@pytest.mark.parametrize(
    ("tenant", "wrong"),
    [
        ({"upstream": "https://crm", "upstream_certificate": "c.pem"}, "upstream_key"),
        ({"upstream": "http://crm", "upstream_certificate": "c.pem", "upstream_key": "k.pem"}, "upstream_certificate"),
        ({"upstream": "https://crm", "upstream_ciphers": "NOPE"}, "upstream_ciphers"),
        ({"upstream": "https://crm", "upstream_tls_minimum": "1.1"}, "upstream_tls_minimum"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(tenant: dict[str, str], wrong: str) -> None:
    with pytest.raises(SettingInvalid) as fault:
        build_settings({"tenant": {"main": tenant}}, Path("/etc/crmgate/crmgate.toml"))
    assert fault.value.name == f"tenant.main.{wrong}"


def test_files_of_tls_that_cannot_be_used_stop_the_start(tmp_path: Path) -> None:
    given = TenantSettings("https://crm", upstream_ca=tmp_path / "nowhere.pem")
    with pytest.raises(SettingInvalid):
        tenant_of("main", given, Installation(load_profile("generic")))


def test_ends_are_gathered_from_files_and_legs_and_the_nearest_counts(files: TlsFiles, tmp_path: Path) -> None:
    certificate, key = client_pair(tmp_path, days=20)
    with serving(asking(files, certificate)) as port:
        tenant = {
            "upstream": f"https://localhost:{port}",
            "upstream_ca": str(files.authority),
            "upstream_certificate": str(certificate),
            "upstream_key": str(key),
        }
        raw = {"tenant": {"main": tenant}, "gateway": {"tls": False}, "console": {"tls": False}}
        found = certificate_ends(build_settings(raw, tmp_path / "crmgate.toml"), "main")
    assert {one.leg for one in found} == {"tenant.main.upstream_certificate", "crmgate → CRM of main"}
    first = nearest(found)
    assert first is not None
    assert (first.leg, first.days(NOW)) == ("tenant.main.upstream_certificate", 20)
    assert file_expiry("gone", tmp_path / "none.pem").not_after is None
