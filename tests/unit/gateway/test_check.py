"""`crmgate check` against real sockets, files, certificates, keyrings and PostgreSQL: each fault is named as it is."""

import contextlib
import socket
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from gateway import check as checks
from gateway import (
    check_directory,
    check_duties,
    check_egress,
    check_entry,
    check_passwords,
    check_shared,
    check_sign_in,
    check_trail,
)
from gateway.certificate import ensure_certificate
from gateway.check import foreign_packages, upstream_state
from gateway.check_words import LANGUAGES, SENTENCES, WEIGHTS, say
from gateway.database import CONNECTED_AS, EmbeddedPostgres, Pool
from gateway.finding import Finding, Weight
from gateway.first_steps import ensure_secrets
from gateway.key_config import PersonStoreKind
from gateway.protect.store import ProtectStore
from gateway.settings import Settings, TenantSettings
from gateway.settings_file import build_settings

NOW = datetime(2026, 11, 20, tzinfo=UTC)
HTTP_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@contextlib.contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port of 127.0.0.1 where `answer` meets every connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def meet() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(5)
                    answer(connection)

        thread = threading.Thread(target=meet)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        thread.join()


def says(text: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(text)

    return answer


def tls(folder: Path) -> Callable[[socket.socket], None]:
    files = ensure_certificate(folder, ["localhost"], datetime.now(UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(1)

    return answer


def upstream(url: str, ca: Path | None = None) -> str:
    found = upstream_state("tenant.main.upstream", TenantSettings(url, upstream_ca=ca), datetime.now(UTC), timeout_s=2)
    return next(found).id


def test_upstream_that_answers() -> None:
    with listening(says(HTTP_ANSWER)) as port:
        assert upstream(f"http://127.0.0.1:{port}") == "upstream-fine"


def test_upstream_with_the_wrong_scheme(tmp_path: Path) -> None:
    with listening(says(HTTP_ANSWER)) as port:
        assert upstream(f"https://127.0.0.1:{port}") == "upstream-not-tls"
    with listening(tls(tmp_path)) as port:
        assert upstream(f"http://127.0.0.1:{port}") == "upstream-is-tls"
    with listening(says(b"SSH-2.0-x\r\n")) as port:
        assert upstream(f"http://127.0.0.1:{port}") == "upstream-not-http"


def test_upstream_certificate(tmp_path: Path) -> None:
    with listening(tls(tmp_path)) as port:
        assert upstream(f"https://localhost:{port}") == "upstream-certificate"
    with listening(tls(tmp_path)) as port:
        assert upstream(f"https://localhost:{port}", tmp_path / "authority.pem") == "upstream-fine"


def test_upstream_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert upstream(f"http://127.0.0.1:{port}") == "upstream-unreachable"
    assert upstream("http://no-such-host.invalid") == "upstream-name"


def installation(folder: Path, **sections: Any) -> Settings:
    least = {"tenant": {"main": {"upstream": "http://127.0.0.1:9", "profile": "creme"}}}
    free = {"gateway": {"listen": "127.0.0.1:0"}, "console": {"listen": "127.0.0.1:0"}}
    return build_settings(least | free | sections, folder / "crmgate.toml")


async def found(settings: Settings) -> dict[str, Finding]:
    return {finding.id: finding for finding in await checks.check(settings, NOW)}


async def test_a_fresh_installation_has_only_the_upstream_to_complain_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "FRONT_END", Path(__file__).parent)
    settings = installation(tmp_path)
    ensure_secrets(settings)
    problems = [finding.id for finding in (await found(settings)).values() if finding.weight is Weight.PROBLEM]
    assert problems == ["upstream-unreachable"]


async def test_the_switch_for_3des_is_named(tmp_path: Path) -> None:
    assert not {"keys-legacy", "keys-legacy-used"} & set(await found(installation(tmp_path)))
    only_on = (await found(installation(tmp_path, keys={"legacy_3des": True})))["keys-legacy"]
    used = await found(installation(tmp_path, keys={"legacy_3des": True, "suite": "3des-cbc-hmac"}))
    assert (only_on.weight, used["keys-legacy-used"].weight) == (Weight.WARNING, Weight.WARNING)
    assert only_on.place == "keys.legacy_3des"
    for language in LANGUAGES:
        assert "3DES" in say(only_on, language)
        assert "3DES" in say(used["keys-legacy-used"], language)


async def test_keyring_faults(tmp_path: Path) -> None:
    settings = installation(tmp_path)
    assert "keys-unavailable" in await found(settings)
    ensure_secrets(settings)
    assert "keys-fine" in await found(settings)
    settings.passphrase_path.write_text("another passphrase\n")
    assert "keyring-wrong-secret" in await found(settings)
    settings.keyring_path.chmod(0o644)
    assert "keyring-readable-by-others" in await found(settings)
    settings.keyring_path.unlink()
    assert "keyring-missing" in await found(settings)


async def test_profile_policy_and_front_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "FRONT_END", tmp_path / "none")
    tenant = {"upstream": "http://127.0.0.1:9", "profile": "nonsense", "policy": "none.csv"}
    seen = await found(installation(tmp_path, tenant={"main": tenant}))
    assert {"profile-unknown", "file-missing", "front-end-missing"} <= set(seen)
    assert "nonsense" in say(seen["profile-unknown"], "en")


async def test_certificates(tmp_path: Path) -> None:
    made = ensure_certificate(tmp_path / "tls", ["crm.localhost"], NOW)
    section = {"listen": "127.0.0.1:0", "tls_certificate": str(made.certificate), "tls_key": str(made.key)}
    settings = installation(tmp_path, gateway=section)
    assert not {"certificate-ends", "certificate-expired", "certificate-host"} & set(await found(settings))
    later = {finding.id for finding in await checks.check(settings, NOW + timedelta(days=350))}
    assert "certificate-ends" in later
    ended = {finding.id for finding in await checks.check(settings, NOW + timedelta(days=400))}
    assert "certificate-expired" in ended
    foreign = installation(
        tmp_path,
        gateway=section,
        tenant={"main": {"upstream": "http://127.0.0.1:9", "public_url": "https://a.example"}},
    )
    assert "certificate-host" in await found(foreign)
    wrong = installation(tmp_path, gateway=section | {"tls_key": str(tmp_path / "tls" / "authority.key")})
    assert "certificate-key" in await found(wrong)
    none = installation(tmp_path, gateway=section | {"tls_certificate": str(tmp_path / "none.pem")})
    assert "certificate-unreadable" in await found(none)
    plain = installation(tmp_path, gateway={"listen": "0.0.0.0:0", "tls": False})
    assert "tls-off" in await found(plain)


async def test_busy_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        busy = f"127.0.0.1:{server.getsockname()[1]}"
        seen = await found(installation(tmp_path, gateway={"listen": busy}))
    assert seen["port-busy"].weight is Weight.WARNING
    assert busy in say(seen["port-busy"], "zh")


async def test_an_account_that_row_level_security_does_not_bind(
    tmp_path: Path, postgres: EmbeddedPostgres, postgres_dsn: str
) -> None:
    dsn_file = tmp_path / "dsn"
    settings = installation(tmp_path, database={"dsn_file": "dsn"})
    dsn_file.write_text(postgres.dsn)
    assert "database-wall-off" not in await found(settings)
    dsn_file.write_text(postgres_dsn)  # the server's administrator
    seen = await found(settings)
    assert "does not bind this account (superuser or BYPASSRLS)" in say(seen["database-wall-off"], "en")
    assert "行级安全策略对该账号不起作用" in say(seen["database-wall-off"], "zh")
    role = f"passing_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN BYPASSRLS".encode())
    dsn_file.write_text(make_conninfo(postgres_dsn, user=role))
    assert "database-wall-off" in await found(settings)


async def test_database(tmp_path: Path, postgres_dsn: str) -> None:
    dsn_file = tmp_path / "dsn"
    dsn_file.write_text(postgres_dsn + "\n")
    assert "database-fine" in await found(installation(tmp_path, database={"dsn_file": "dsn"}))
    dsn_file.write_text(f"host={tmp_path} dbname=x user=x password=very-secret")
    seen = await found(installation(tmp_path, database={"dsn_file": "dsn"}))
    assert "very-secret" not in say(seen["database-unreachable"], "en")
    assert "file-missing" in await found(installation(tmp_path, database={"dsn_file": "none"}))


async def test_nodes_that_cannot_share_a_file_of_person_keys_are_told(tmp_path: Path, pool: Pool, dsn: str) -> None:
    (tmp_path / "dsn").write_text(dsn)
    settings = installation(tmp_path, database={"dsn_file": "dsn"})
    assert "persons-not-shared" not in await found(settings)
    second = await psycopg.AsyncConnection.connect(dsn, application_name=f"{CONNECTED_AS}node-two")
    told = (await found(settings))["persons-not-shared"]
    assert told.weight is Weight.WARNING
    assert {"node-two", socket.gethostname()[:40]} <= {one[:40] for one in dict(told.values)["nodes"].split(", ")}
    (tmp_path / "persons").write_text(f"{dsn} ")
    shared = replace(settings, persons=replace(settings.persons, store=PersonStoreKind.POSTGRESQL))
    assert "persons-not-shared" not in {one.id for one in await check_shared.check_shared(shared)}
    await second.close()


async def test_looking_for_arrivals_without_a_credential_is_told(tmp_path: Path, pool: Pool, dsn: str) -> None:
    assert "arrivals-no-credential" in await found(installation(tmp_path))  # nothing was ever stored
    (tmp_path / "dsn").write_text(dsn)
    settings = installation(tmp_path, database={"dsn_file": "dsn"})
    told = (await found(settings))["arrivals-no-credential"]
    assert (told.weight, told.place) == (Weight.WARNING, "tenant.main.arrivals_s")
    assert "crmgate protect credential --tenant main" in say(told, "en")
    main = settings.tenants["main"]
    off = replace(settings, tenants={"main": replace(main, arrivals_s=0.0)})
    assert "arrivals-no-credential" not in {one.id for one in await check_shared.check_shared(off)}
    await ProtectStore(pool).keep_credential("main", b"sealed")
    assert "arrivals-no-credential" not in await found(settings)


async def test_a_database_that_is_away_or_was_never_used_tells_nothing(tmp_path: Path, postgres_dsn: str) -> None:
    for dsn in (postgres_dsn, f"host={tmp_path} dbname=x user=x"):
        (tmp_path / "dsn").write_text(dsn)
        settings = installation(tmp_path, database={"dsn_file": "dsn"})
        assert await check_shared.check_shared(settings) == []


def test_another_distribution_with_our_package_names_is_found() -> None:
    owners = {"gateway": ["crmgate", "other-gateway"], "kms": ["crmgate"], "rules": ["rules"]}
    assert [(finding.place, dict(finding.values)["other"]) for finding in foreign_packages(lambda: owners)] == [
        ("gateway", "other-gateway"),
        ("rules", "rules"),
    ]


def test_this_environment_is_clean() -> None:
    assert foreign_packages() == []


def test_every_finding_has_a_sentence_in_both_languages() -> None:
    source = "".join(
        Path(str(one.__file__)).read_text(encoding="utf-8")
        for one in (
            checks,
            check_directory,
            check_duties,
            check_egress,
            check_entry,
            check_passwords,
            check_shared,
            check_sign_in,
            check_trail,
        )
    )
    for name in SENTENCES:
        assert f'"{name}"' in source, f"no check says {name}"
    for english, chinese in SENTENCES.values():
        assert english != chinese
    assert set(WEIGHTS) == set(LANGUAGES)
