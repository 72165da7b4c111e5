"""nginx with the configuration of deploy/ in front of crmgate: HTTP/2 for clients, the true client, uploads.

The file is used as it is shipped; only its ports, names and certificate paths are those of this test.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyotp
import pytest

from gateway.accounts import utc_now
from gateway.certificate import ensure_certificate
from gateway.demo import children
from gateway.demo.filling import API_SIGN_IN
from gateway.first_steps import ensure_secrets
from gateway.settings import Settings
from gateway.settings_file import read_settings
from tests.drills.stack import Member, provision
from tests.e2e.database import sql
from tests.real.plain import BLOCK, PROFILE, Plain, crc_of, plain

pytestmark = pytest.mark.real
SHIPPED = Path(__file__).parents[2] / "deploy" / "nginx" / "crmgate.conf"
SIZE = 20_000_000


@dataclass(frozen=True)
class Front:
    """nginx, crmgate behind it, a plain upstream behind that, and a manager's cookies."""

    folder: Path
    port: int
    console_port: int
    settings: Settings
    upstream: Plain
    manager: Member

    def curl(self, path: str, *more: str, console: bool = False, known: bool = True) -> tuple[str, bytes]:
        """Ask through nginx; HTTP version with status, and the body."""
        host, port = ("console.localhost", self.console_port) if console else ("crm.localhost", self.port)
        body, jar, authority = (self.folder / name for name in ("body", "jar", "tls/authority.pem"))
        command = ["curl", "--silent", "--show-error", "--http2", "--cacert", str(authority), "--max-time", "60"]
        command += ["--resolve", f"{host}:{port}:127.0.0.1"]
        command += ["--cookie", str(jar), "--cookie-jar", str(jar)] if known else []
        command += ["--output", str(body), "--write-out", "%{http_version} %{http_code}", *more]
        done = subprocess.run([*command, f"https://{host}:{port}{path}"], capture_output=True, text=True, timeout=90)
        assert done.returncode == 0, done.stderr
        return done.stdout, body.read_bytes() if body.exists() else b""


def nginx_conf(folder: Path, ports: dict[str, int]) -> Path:
    """The shipped file inside the least of an nginx.conf."""
    text = SHIPPED.read_text(encoding="utf-8")
    servers = text.split("\nserver {")
    for place, name in ((1, "crm"), (2, "console")):
        servers[place] = re.sub(r"    listen \[::\]:443.*\n", "", servers[place])
        servers[place] = servers[place].replace("listen 443 ", f"listen 127.0.0.1:{ports[name]} ")
        servers[place] = servers[place].replace(f"{name}.example.org", f"{name}.localhost")
        for kind in ("pem", "key"):
            servers[place] = servers[place].replace(f"/etc/crmgate/tls/{name}.{kind}", f"{folder}/tls/served.{kind}")
    servers[3] = re.sub(r"    listen \[::\]:80.*\n", "", servers[3])
    servers[3] = servers[3].replace("listen 80 ", f"listen 127.0.0.1:{ports['plain']} ")
    text = "\nserver {".join(servers)
    text = text.replace("127.0.0.1:8443", f"127.0.0.1:{ports['gateway']}")
    text = text.replace("127.0.0.1:8444", f"127.0.0.1:{ports['gateway_console']}")
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.geteuid() == 0 else ""
    file = folder / "nginx.conf"
    file.write_text(
        f"{user}worker_processes 1;\npid {folder}/nginx.pid;\nerror_log {folder}/nginx.log;\ndaemon off;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{text}\n}}\n"
    )
    return file


@pytest.fixture(scope="module")
def front() -> Iterator[Front]:
    folder = Path(tempfile.mkdtemp(prefix="crmgate-front-"))
    folder.chmod(0o711)
    ports = {name: children.free_port() for name in ("crm", "console", "plain", "gateway", "gateway_console")}
    tls = ensure_certificate(folder / "tls", ["crm.localhost", "console.localhost"], utc_now())
    shutil.copy(tls.certificate, folder / "tls" / "served.pem")
    shutil.copy(tls.key, folder / "tls" / "served.key")
    with plain() as upstream:
        file = folder / "crmgate.toml"
        # What the head of the shipped file says belongs into crmgate.toml.
        file.write_text(f"""
            [gateway]
            listen = "127.0.0.1:{ports["gateway"]}"
            tls = false
            [console]
            listen = "127.0.0.1:{ports["gateway_console"]}"
            tls = false
            public_url = "https://console.localhost:{ports["console"]}"
            [network]
            trusted_proxies = ["127.0.0.1"]
            [tenant.main]
            public_url = "https://crm.localhost:{ports["crm"]}"
            upstream = "{upstream.url}"
            profile = "{PROFILE}"
        """)
        settings = read_settings(file)
        ensure_secrets(settings)
        manager = Member("front.manager", "manager", pyotp.random_base32())
        asyncio.run(provision(settings, [manager], {}))
        command: list[str | Path] = [sys.executable, "-m", "gateway.cli", "serve", "--config", file]
        gateway = children.start("crmgate", command, folder / "crmgate.log", folder)
        conf = nginx_conf(folder, ports)
        checked = subprocess.run(["nginx", "-t", "-p", folder, "-c", conf], capture_output=True, text=True, timeout=30)
        assert checked.returncode == 0, checked.stderr
        nginx = children.start("nginx", ["nginx", "-p", folder, "-c", conf], folder / "nginx.out", folder)
        try:
            children.wait_for_port(gateway, ports["gateway"])
            children.wait_for_port(nginx, ports["crm"])
            yield Front(folder, ports["crm"], ports["console"], settings, upstream, manager)
        finally:
            nginx.stop()
            gateway.stop()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def signed_in(front: Front) -> Front:
    member, origin = front.manager, f"https://crm.localhost:{front.port}"
    given = json.dumps({"login": member.login, "password": member.password, "code": member.code()})
    fields = ["-H", "content-type: application/json", "-H", f"origin: {origin}", "--data", given]
    assert front.curl(API_SIGN_IN, *fields)[0] == "2 200"
    return front


def test_people_get_http_2_and_pages_with_public_addresses(signed_in: Front) -> None:
    said, body = signed_in.curl("/page")
    assert said == "2 200"
    assert f"https://crm.localhost:{signed_in.port}/x".encode() in body
    assert signed_in.curl("/.crmgate/sign-in", console=True)[0] == "2 200"


def test_without_session_nothing_passes(front: Front) -> None:
    assert front.curl("/page", "-H", "accept: application/json", known=False)[0] == "2 401"


def test_what_a_client_claims_about_its_address_does_not_count(signed_in: Front) -> None:
    fields = ["-H", "X-Forwarded-For: 203.0.113.5", "-H", "Forwarded: for=203.0.113.5", "-H", "X-Real-IP: 203.0.113.5"]
    assert signed_in.curl("/claimed", *fields)[0] == "2 200"
    clients = sql(signed_in.settings, "SELECT DISTINCT convert_from(body, 'UTF8')::json->>'client' FROM audit_entry")
    assert set(clients) - {("",)} == {("127.0.0.1",)}  # none: what the installation itself did at its start
    assert "203.0.113.5" not in signed_in.upstream.last("/claimed").head


def test_uploads_and_downloads_pass_whole(signed_in: Front) -> None:
    said, body = signed_in.curl(f"/download/{SIZE}")
    assert (said, len(body), zlib.crc32(body)) == ("2 200", SIZE, crc_of(SIZE))
    file = signed_in.folder / "scan.bin"
    file.write_bytes((BLOCK * (SIZE // len(BLOCK) + 1))[:SIZE])
    origin = f"origin: https://crm.localhost:{signed_in.port}"
    assert signed_in.curl("/upload", "-H", origin, "--form", f"file=@{file}")[0] == "2 201"
    assert signed_in.upstream.last("/upload").size > SIZE
    binary = ["-H", "content-type: application/octet-stream", "-T", str(file)]
    assert signed_in.curl("/upload", "-H", origin, *binary)[0] == "2 201"
    assert signed_in.upstream.last("/upload").crc == crc_of(SIZE)


@pytest.mark.parametrize("path", ["/a//b", "/a/%2e%2e/b", "/a%2fb"])
def test_odd_paths_reach_crmgate_as_they_were_written_and_are_refused(signed_in: Front, path: str) -> None:
    said, body = signed_in.curl(path, "--path-as-is", "-H", "accept: application/json")
    assert said == "2 400"
    assert json.loads(body)["reason"] == "ambiguous-path"


def over_plain_http(front: Front, *options: str) -> str:
    """Status and Location, as curl saw them, of a call to the port without TLS."""
    text = (front.folder / "nginx.conf").read_text()
    port = re.search(r"listen 127\.0\.0\.1:(\d+) default_server", text)
    assert port is not None
    command = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code} %{redirect_url}", *options]
    command += ["--resolve", f"crm.localhost:{port[1]}:127.0.0.1", f"http://crm.localhost:{port[1]}/x?y=1"]
    return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout


def test_plain_http_is_sent_to_https(front: Front) -> None:
    found = over_plain_http(front, "--header", "Accept: text/html,application/xhtml+xml")
    assert found == "308 https://crm.localhost/x?y=1"


@pytest.mark.parametrize(
    "options",
    [(), ("--header", "Accept: application/json"), ("--header", "Accept: text/html", "--data", "a=1")],
    ids=["curl", "json", "form"],
)
def test_a_program_on_plain_http_is_refused(front: Front, options: tuple[str, ...]) -> None:
    assert over_plain_http(front, *options) == "403 "
