"""The trail of a serving gateway at a real rsyslog over TLS: all of it, also what happened while it was away."""

import asyncio
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyotp
import pytest

from audit.entry import decode
from audit.tree import leaf_hash
from gateway.certificate import TlsFiles, ensure_certificate
from gateway.demo import children
from gateway.demo.browser import Browser
from gateway.demo.children import Child
from gateway.demo.filling import API_SIGN_IN
from gateway.first_steps import ensure_secrets
from gateway.settings import Settings
from gateway.settings_file import read_settings
from tests.drills.stack import Member, provision
from tests.e2e.database import sql
from tests.real.plain import PROFILE, plain

pytestmark = pytest.mark.real
PATIENCE_S = 120.0
# What rsyslog writes of each message it took: structured data, a bar, and MSG as it came.
LINE = re.compile(rb'\[crmgate@32473 index="(\d+)" leaf="([0-9a-f]{64})"[^|]*\]\|(?:\xef\xbb\xbf)?(\{.*\})')


@dataclass
class Post:
    """A gateway, and the rsyslog it sends to."""

    folder: Path
    settings: Settings
    syslog_port: int
    browser: Browser
    tls: TlsFiles
    syslog: Child | None = None

    def start_syslog(self) -> None:
        """Start the collector on its port; what it wrote before stays."""
        file = self.folder / "rsyslog.conf"
        file.write_text(f"""
            global(workDirectory="{self.folder}" maxMessageSize="128k"
                   defaultNetstreamDriver="ossl"
                   defaultNetstreamDriverCAFile="{self.tls.authority}"
                   defaultNetstreamDriverCertFile="{self.tls.certificate}"
                   defaultNetstreamDriverKeyFile="{self.tls.key}")
            module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
            template(name="taken" type="string" string="%STRUCTURED-DATA%|%msg%\\n")
            input(type="imtcp" port="{self.syslog_port}" address="127.0.0.1")
            action(type="omfile" file="{self.folder}/taken" template="taken" fileCreateMode="0600")
        """)
        command: list[str | Path] = ["rsyslogd", "-n", "-f", file, "-i", self.folder / "rsyslog.pid"]
        self.syslog = children.start("rsyslog", command, self.folder / "rsyslog.log", self.folder)
        children.wait_for_port(self.syslog, self.syslog_port)

    def taken(self) -> dict[int, tuple[bytes, bytes]]:
        """Index → leaf hash and canonical bytes, of every message the collector wrote down."""
        file = self.folder / "taken"
        found = LINE.findall(file.read_bytes()) if file.exists() else []
        return {int(index): (bytes.fromhex(leaf.decode()), body) for index, leaf, body in found}

    def written(self) -> dict[int, tuple[bytes, bytes]]:
        """The same, as the trail has it."""
        rows = sql(self.settings, "SELECT index, leaf, body FROM audit_entry WHERE tenant = 'main'")
        return {index: (bytes(leaf), bytes(body)) for index, leaf, body in rows}

    def make_entries(self, count: int) -> None:
        """Pages of the CRM that a manager opens."""
        for _ in range(count):
            assert self.browser.get("/page").status == 200

    def wait_until_all_is_taken(self) -> dict[int, tuple[bytes, bytes]]:
        """Until the collector has what the trail has; the trail's word."""
        end = time.monotonic() + PATIENCE_S
        while True:
            written = self.written()
            if written and self.taken().keys() >= written.keys():
                return written
            assert time.monotonic() < end, (len(self.taken()), len(written), self.syslog_says())
            time.sleep(0.2)

    def syslog_says(self) -> str:
        """The collector's own complaints."""
        return (self.folder / "rsyslog.log").read_text()[-2000:]


@pytest.fixture(scope="module")
def post() -> Iterator[Post]:
    folder = Path(tempfile.mkdtemp(prefix="crmgate-siem-"))
    folder.chmod(0o711)
    tls = ensure_certificate(folder / "tls", ["localhost"], datetime.now(UTC))
    served = ensure_certificate(folder / "served", ["crm.localhost", "console.localhost"], datetime.now(UTC))
    port, syslog_port = children.free_port(), children.free_port()
    with plain() as upstream:
        file = folder / "crmgate.toml"
        file.write_text(f"""
            [gateway]
            listen = "127.0.0.1:{port}"
            tls_certificate = "{served.certificate}"
            tls_key = "{served.key}"
            [console]
            listen = "127.0.0.1:{children.free_port()}"
            public_url = "https://console.localhost:1"
            [tenant.main]
            public_url = "https://crm.localhost:{port}"
            upstream = "{upstream.url}"
            profile = "{PROFILE}"
            [siem.soc]
            to = "tls://localhost:{syslog_port}"
            ca = "{tls.authority}"
            [siem.copy]
            to = "file://{folder}/copy.json"
            format = "ecs"
        """)
        settings = read_settings(file)
        ensure_secrets(settings)
        member = Member("post.manager", "manager", pyotp.random_base32())
        asyncio.run(provision(settings, [member], {}, "main"))
        command: list[str | Path] = [sys.executable, "-m", "gateway.cli", "serve", "--config", file]
        gateway = children.start("crmgate", command, folder / "crmgate.log", folder)
        browser = Browser(f"https://crm.localhost:{port}", authority=served.authority)
        made = Post(folder, settings, syslog_port, browser, tls)
        try:
            children.wait_for_port(gateway, port)
            given = {"login": member.login, "password": member.password, "code": member.code()}
            browser.post_json(API_SIGN_IN, given).expect(200)
            yield made
        finally:
            browser.close()
            if made.syslog is not None:
                made.syslog.stop()
            gateway.stop()
            shutil.rmtree(folder, ignore_errors=True)


def test_what_happened_before_the_collector_was_there_arrives_and_can_be_proved(post: Post) -> None:
    post.make_entries(30)
    assert post.taken() == {}
    post.start_syslog()
    written = post.wait_until_all_is_taken()
    taken = post.taken()
    assert len(written) >= 30
    assert {index: taken[index] for index in written} == written
    for leaf, body in taken.values():
        assert leaf_hash(body) == leaf
        decode(body)


def test_a_collector_that_is_killed_and_comes_back_has_everything(post: Post) -> None:
    assert post.syslog is not None
    post.make_entries(20)
    post.syslog.process.kill()
    post.syslog.process.wait()
    post.make_entries(20)  # nobody who works waits for it
    post.start_syslog()
    written = post.wait_until_all_is_taken()
    assert {index: post.taken()[index] for index in written} == written


def test_a_file_beside_it_has_the_same_entries(post: Post) -> None:
    written, end = post.written(), time.monotonic() + PATIENCE_S
    while True:
        lines = [json.loads(line) for line in (post.folder / "copy.json").read_bytes().splitlines()]
        places = [line["event"]["sequence"] for line in lines]
        if places and places[-1] >= max(written):
            break
        assert time.monotonic() < end
        time.sleep(0.2)
    assert places == list(range(len(places)))
    assert {bytes.fromhex(line["crmgate"]["leaf"]) for line in lines} >= {leaf for leaf, _ in written.values()}
