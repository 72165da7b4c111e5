"""Legs with real certificates: proved, refuted or not visible, never with a guess."""

import socket
import ssl
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from gateway.certificate import ensure_certificate
from gateway.database import EmbeddedPostgres
from gateway.evidence.probe import Evidence, Verdict
from gateway.evidence.tls import PostgresTlsProbe, TlsProbe, is_near
from gateway.tls import client_context, server_context
from tests.unit.gateway.test_tls import serving


def now() -> datetime:
    return datetime.now(UTC)


def seen(url: str, ca: Path | None = None) -> Evidence:
    (found,) = TlsProbe("leg", url, partial(client_context, ca), now).look()
    return found


def test_a_leg_whose_certificate_holds_is_proved_with_its_facts(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path, ["localhost"], now())
    with serving(server_context(files.certificate, files.key)) as port:
        found = seen(f"https://localhost:{port}", files.authority)
    facts = dict(found.facts)
    assert found.verdict is Verdict.PROVED
    assert (facts["protocol"], facts["certificate ends"]) == ("TLSv1.3", "in 364 days")
    assert facts["cipher"].startswith("TLS_")


def test_a_certificate_that_does_not_hold_refutes(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path / "a", ["crm.example"], now())
    other = ensure_certificate(tmp_path / "b", ["localhost"], now())
    with serving(server_context(files.certificate, files.key)) as port:
        wrong_name, unknown = (seen(f"https://localhost:{port}", ca) for ca in (files.authority, other.authority))
    assert (wrong_name.verdict, unknown.verdict) == (Verdict.REFUTED, Verdict.REFUTED)
    assert "localhost" in dict(wrong_name.facts)["certificate"]


def test_what_does_not_answer_is_not_visible_and_what_speaks_no_tls_refutes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert seen(f"https://127.0.0.1:{port}").verdict is Verdict.NOT_VISIBLE


def test_plain_http_is_proof_on_this_machine_only() -> None:
    assert seen("http://127.0.0.1:8000").verdict is Verdict.PROVED
    assert seen("http://crm.example:8000").verdict is Verdict.REFUTED


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("localhost", True),
        ("crm.localhost", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("crm", False),
    ],
)
def test_near_is_what_names_this_machine_itself(host: str, near: bool) -> None:
    assert is_near(host) is near


def test_files_that_cannot_be_used_are_no_proof() -> None:
    def broken() -> ssl.SSLContext:
        raise FileNotFoundError

    probe = TlsProbe("leg", "https://localhost:1", broken, now)
    assert probe.look()[0].verdict is Verdict.NOT_VISIBLE
    assert probe.expiry().not_after is None


def test_a_socket_to_postgresql_never_leaves_the_machine(postgres: EmbeddedPostgres) -> None:
    assert PostgresTlsProbe("database", postgres.admin_dsn).look()[0].verdict is Verdict.PROVED
    assert PostgresTlsProbe("database", "host=127.0.0.1 port=1 dbname=x").look()[0].verdict is Verdict.NOT_VISIBLE
