"""`crmgate check` about mail servers, services and listeners: each fault is named as it is, and nothing is sent."""

import shutil
import socket
from collections import namedtuple
from pathlib import Path

import pytest

from gateway.check_egress import check_egress
from gateway.finding import Finding
from gateway.settings_file import build_settings
from tests.unit.gateway.test_check import listening

SMTP = {"smart_host_tls": "off", "staff_domains": ["example.org"]}


def found(tmp_path: Path, profile: str = "generic", **egress: object) -> dict[str, Finding]:
    raw = {"tenant": {"main": {"upstream": "http://127.0.0.1:9", "profile": profile}}, "egress": egress}
    settings = build_settings(raw, tmp_path / "crmgate.toml")
    return {one.id: one for one in check_egress(settings, timeout_s=2)}


def mail_server(greeting: bytes, *answers: bytes) -> object:
    def answer(connection: socket.socket) -> None:
        connection.sendall(greeting)
        for one in answers:
            connection.recv(4096)
            connection.sendall(one)

    return answer


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_nothing_is_said_where_nothing_is_configured(tmp_path: Path) -> None:
    assert found(tmp_path) == {}


def test_a_mail_server_that_answers_is_fine(tmp_path: Path) -> None:
    with listening(mail_server(b"220 mail\r\n", b"221 bye\r\n")) as port:  # type: ignore[arg-type]
        assert set(found(tmp_path, smtp={"smart_host": f"127.0.0.1:{port}", **SMTP})) == {"mail-fine"}


def test_a_mail_server_that_is_away_is_told(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    assert set(found(tmp_path, smtp={"smart_host": address, **SMTP})) == {"mail-unreachable"}
    inbound = {
        "deliver_to": address,
        "deliver_tls": "off",
        "own_domains": ["example.org"],
        "mailboxes": ["c@example.org"],
    }
    assert found(tmp_path, inbound=inbound)["mail-unreachable"].place == "egress.inbound.deliver_to"


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_a_mail_server_without_the_tls_that_is_asked_for_is_told(tmp_path: Path, tls: str) -> None:
    answer = mail_server(b"220 mail\r\n", b"250 SIZE 1000\r\n", b"221 bye\r\n")
    with listening(answer) as port:  # type: ignore[arg-type]
        smtp = {"smart_host": f"127.0.0.1:{port}", **SMTP, "smart_host_tls": tls}
        assert set(found(tmp_path, smtp=smtp)) == {"mail-no-tls"}


def test_what_answers_and_is_no_mail_server_is_told(tmp_path: Path) -> None:
    with listening(mail_server(b"HTTP/1.1 400 no\r\n\r\n")) as port:  # type: ignore[arg-type]
        assert set(found(tmp_path, smtp={"smart_host": f"127.0.0.1:{port}", **SMTP})) == {"mail-not-smtp"}


def test_names_that_do_not_resolve_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    service = {"name": "sms", "url": "https://sms.example.org", "kinds": ["phone"]}
    said = found(
        tmp_path,
        smtp={"smart_host": "mail.example.org:587", "staff_domains": ["example.org"]},
        proxy={},
        http=[service],
    )
    assert {"mail-name", "service-name"} == set(said)
    assert said["service-name"].place == "egress.http sms"


def test_a_service_that_is_away_is_a_warning(tmp_path: Path) -> None:
    service = {"name": "hook", "url": f"http://127.0.0.1:{free_port()}", "kinds": ["phone"]}
    said = found(tmp_path, proxy={}, http=[service])
    assert {one.id: one.weight.name for one in said.values()} == {"service-unreachable": "WARNING"}


def test_missing_mail_domains_of_the_company_are_told(tmp_path: Path) -> None:
    smtp = {"smart_host": f"127.0.0.1:{free_port()}", "smart_host_tls": "off"}
    assert "staff-missing" in found(tmp_path, smtp=smtp)


@pytest.mark.parametrize(
    ("listen", "networks", "told"),
    [
        ("0.0.0.0:8446", ["0.0.0.0/0"], True),
        ("0.0.0.0:8446", ["10.0.0.0/8", "::/0"], True),
        ("0.0.0.0:8446", ["10.0.0.0/8"], False),
        ("127.0.0.1:8446", ["0.0.0.0/0"], False),
    ],
)
def test_a_listener_open_to_the_world_is_told(tmp_path: Path, listen: str, networks: list[str], told: bool) -> None:
    leads = {"listen": listen, "allow_networks": networks}
    said = found(tmp_path, leads=leads, lead=[{"path": "/contact", "to": "/api/leads"}])
    assert ("egress-open" in said) is told


@pytest.mark.parametrize(
    ("profile", "free", "told"), [("creme", 10, True), ("creme", 10**6, False), ("generic", 10, False)]
)
def test_a_profile_that_seals_files_needs_room_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: str, free: int, told: bool
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage(0, 0, free * 1024**2))
    assert ("files-no-room" in found(tmp_path, profile)) is told
