"""A serving gateway whose checkpoints go over from the key file to OpenBao, into a locked bucket, and out as tiles."""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from audit.note import origin_of, read_signer
from gateway.certificate import TlsFiles, ensure_certificate
from gateway.demo import children
from gateway.demo.browser import Browser
from gateway.first_steps import ensure_secrets
from gateway.settings_file import read_settings
from tests.e2e.database import sql
from tests.real.bao import Bao, bao
from tests.real.plain import PROFILE, plain
from tests.real.s3 import S3, s3

pytestmark = pytest.mark.real
PATIENCE_S = 120.0
ORIGIN = origin_of("main")


@dataclass
class Place:
    """A gateway's folder, its console's port, and the servers around it."""

    folder: Path
    port: int
    console_port: int
    served: TlsFiles
    server: Bao
    store: S3

    @property
    def file(self) -> Path:
        return self.folder / "crmgate.toml"

    def run(self, *words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "gateway.cli", *words, "--config", str(self.file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout + done.stderr

    def ask(self, path: str) -> tuple[int, bytes]:
        browser = Browser(f"https://console.localhost:{self.console_port}", self.served.authority)
        try:
            answer = browser.get(path)
            return answer.status, answer.body
        finally:
            browser.close()

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        command = [sys.executable, "-m", "gateway.cli", "serve", "--config", str(self.file)]
        child = children.start("crmgate", command, self.folder / "serve.log", self.folder)
        try:
            children.wait_for_port(child, self.console_port)
            yield
        finally:
            child.stop()


def wait_for(found: Callable[[], object], told: Callable[[], object] = lambda: "") -> None:
    end = time.monotonic() + PATIENCE_S
    while not found():
        assert time.monotonic() < end, told()
        time.sleep(0.2)


@pytest.fixture
def place() -> Iterator[Place]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crmgate-key-")))
        folder.chmod(0o711)
        server, store = stack.enter_context(bao()), stack.enter_context(s3(folder / "s3"))
        upstream = stack.enter_context(plain())
        store.make_bucket("checkpoints")
        served = ensure_certificate(folder / "served", ["crm.localhost", "console.localhost"], datetime.now(UTC))
        (folder / "token").write_text(server.client.token)
        made = Place(folder, children.free_port(), children.free_port(), served, server, store)
        made.file.write_text(f"""
            [gateway]
            listen = "127.0.0.1:{made.port}"
            tls_certificate = "{served.certificate}"
            tls_key = "{served.key}"
            [console]
            listen = "127.0.0.1:{made.console_port}"
            public_url = "https://console.localhost:{made.console_port}"
            tls_certificate = "{served.certificate}"
            tls_key = "{served.key}"
            [tenant.main]
            public_url = "https://crm.localhost:{made.port}"
            upstream = "{upstream.url}"
            profile = "{PROFILE}"
            [keys]
            provider = "openbao"
            address = "{server.address}"
            token_file = "token"
            timeout_s = 30
            [audit]
            checkpoint_seconds = 1
            tiles_networks = ["127.0.0.0/8"]
            tiles_seconds = 1
            [audit.anchor]
            s3_bucket = "checkpoints"
            s3_endpoint = "{store.address}"
            s3_credentials_file = "{store.credentials_file}"
            s3_minutes = 0.05
        """)
        ensure_secrets(read_settings(made.file))
        yield made


def newest_in_bucket(place: Place) -> int:
    found = place.store.client.list_objects_v2(Bucket="checkpoints").get("Contents", [])
    return max((int(one["Key"].rsplit("/", 1)[1].partition(".")[0]) for one in found), default=0)


def size_over_http(place: Place) -> int:
    status, raw = place.ask("/trail/main/checkpoint")
    return int(raw.split(b"\n")[1]) if status == 200 else 0


def test_the_key_goes_over_to_the_key_server_and_every_proof_goes_on(place: Place, tmp_path: Path) -> None:
    settings = read_settings(place.file)
    with place.serving():
        code, made = place.run("audit", "key", "--create")
        assert code == 0, made
        new = made.splitlines()[0]
        wait_for(lambda: newest_in_bucket(place) and size_over_http(place))
    old = read_signer(settings.checkpoint_key_path).verifier.vkey(ORIGIN)
    assert old != new
    place.file.write_text(place.file.read_text().replace("[audit]\n", '[audit]\ncheckpoint_signer = "key-server"\n'))
    assert place.run("audit", "key")[1].strip() == new
    with place.serving():
        said = "SELECT body FROM audit_entry WHERE reason = 'audit-key-changed'"
        wait_for(lambda: sql(settings, said), lambda: (place.folder / "serve.log").read_text()[-2000:])
        assert len(sql(settings, said)) == 1
        pack = tmp_path / "pack.zip"
        wait_for(lambda: place.run("audit", "pack", str(pack), "--operation", "audit.key", "--complete")[0] == 0)
        size = size_over_http(place)
        wait_for(lambda: newest_in_bucket(place) > size and size_over_http(place) > size)
        assert place.ask("/trail/main/tile/entries/000")[0] == 404
        assert sql(settings, "SELECT 1 FROM audit_entry WHERE reason = 'tiles-read'")
    code, verified = place.run("audit", "verify")
    assert code == 0, verified
    with zipfile.ZipFile(pack) as opened:
        (tmp_path / "verify.py").write_bytes(opened.read("verify.py"))
        told = [json.loads(line) for line in opened.read("events.jsonl").splitlines()]
    assert [one["reason"] for one in told][:1] == ["audit-key-made"]
    for key in (old, new):
        command = [sys.executable, "-I", "verify.py", pack.name, "--key", key]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert (done.returncode, done.stdout.splitlines()[0]) == (0, "PROVED"), done.stdout + done.stderr
        assert "both keys signed the change" in done.stdout
