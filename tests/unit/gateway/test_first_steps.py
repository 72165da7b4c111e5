"""`crmgate init`: a file that reads back as the defaults, secrets made once, nothing overwritten, the CRM guessed."""

import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from gateway.first_steps import Start, ensure_secrets, guess_profile, render_file, write_files
from gateway.settings_file import build_settings

START = Start("http://127.0.0.1:8000", "creme", "https://crm.localhost:8443", "https://console.localhost:8444")


def test_written_file_means_the_defaults(tmp_path: Path) -> None:
    settings = write_files(tmp_path / "crmgate.toml", START)
    least = {"tenant": {"main": {"upstream": START.upstream, "profile": "creme"}}}
    assert settings == build_settings(least, tmp_path / "crmgate.toml")


def test_every_commented_default_is_valid_when_its_mark_is_removed() -> None:
    lines = [line[2:] if line.startswith("# ") and " = " in line else line for line in render_file(START).splitlines()]
    text = "\n".join(line for line in lines if not line.startswith("Check with"))
    assert build_settings(tomllib.loads(text), Path("/x/crmgate.toml")).limits.body_mb == 8


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    settings = write_files(tmp_path / "crmgate.toml", START)
    before = [path.read_bytes() for path in (settings.file, settings.keyring_path, settings.passphrase_path)]
    with pytest.raises(FileExistsError):
        write_files(tmp_path / "crmgate.toml", START)
    ensure_secrets(settings)
    assert [path.read_bytes() for path in (settings.file, settings.keyring_path, settings.passphrase_path)] == before
    assert settings.keyring_path.stat().st_mode & 0o777 == 0o600
    assert settings.passphrase_path.stat().st_mode & 0o777 == 0o600


class Answering(BaseHTTPRequestHandler):
    """Answers as a CRM does; `told` maps a path to status and body."""

    told: ClassVar[dict[str, tuple[int, bytes]]] = {}

    def do_GET(self) -> None:
        status, body = self.told.get(self.path, (404, b""))
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name the base class uses
        """Quiet."""


@pytest.fixture
def crm() -> Iterator[tuple[str, dict[str, tuple[int, bytes]]]]:
    told: ClassVar[dict[str, tuple[int, bytes]]] = {}
    server = HTTPServer(("127.0.0.1", 0), type("Crm", (Answering,), {"told": told}))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", told
    server.shutdown()
    thread.join()
    server.server_close()


def test_known_crms_are_recognised(crm: tuple[str, dict[str, tuple[int, bytes]]]) -> None:
    url, told = crm
    assert guess_profile(url) is None
    told["/api/contacts/"] = (403, b'{"detail": "Authentication credentials were not provided."}')
    assert guess_profile(url) is None  # any interface made with the same library answers so
    told["/api/contacts/"] = (403, b'{"detail": "Organization context is required. Please login again."}')
    assert guess_profile(url) == "bottle"
    told["/"] = (405, b"<h1>Method Not Allowed</h1>")
    assert guess_profile(url) == "tryton"
    told["/creme_login/"] = (200, b"<title>Creme</title>")
    assert guess_profile(url) == "creme"


def test_a_silent_crm_is_not_guessed() -> None:
    assert guess_profile("http://127.0.0.1:9", timeout_s=0.5) is None
